// Command manifests reads files of manifests as kubectl does, for comparison: the same packages in the same order, many files in one process.
//
// In: files, each as 4 bytes of length (big endian) and its bytes. Out: an answer for each, framed likewise, in JSON: the documents, or the error.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

type answer struct {
	Documents []any  `json:"documents"`
	Error     string `json:"error"`
}

// read does what cli-runtime's FileVisitor and StreamVisitor do up to the object.
func read(data []byte) (made answer) {
	made.Documents = []any{}
	text := transform.NewReader(bytes.NewReader(data), unicode.BOMOverride(unicode.UTF8.NewDecoder()))
	decoder := yaml.NewYAMLOrJSONDecoder(text, 4096)
	for {
		var found json.RawMessage
		if err := decoder.Decode(&found); errors.Is(err, io.EOF) {
			return made
		} else if err != nil {
			return answer{Error: err.Error()}
		}
		raw := bytes.TrimSpace(found)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		var value any
		if err := utiljson.Unmarshal(raw, &value); err != nil {
			return answer{Error: err.Error()}
		}
		made.Documents = append(made.Documents, value)
	}
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var size uint32
		if err := binary.Read(in, binary.BigEndian, &size); err != nil {
			return
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		text, err := json.Marshal(read(data))
		if err != nil {
			text, _ = json.Marshal(answer{Error: err.Error()})
		}
		_ = binary.Write(out, binary.BigEndian, uint32(len(text)))
		_, _ = out.Write(text)
		_ = out.Flush()
	}
}
