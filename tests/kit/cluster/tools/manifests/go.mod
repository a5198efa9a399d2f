module setpoint.dev/tests/tools/manifests

go 1.26.0

godebug default=go1.26

require (
	golang.org/x/text v0.43.0
	k8s.io/apimachinery v0.36.3
)

require (
	github.com/go-logr/logr v1.4.4 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	k8s.io/klog/v2 v2.140.0 // indirect
	sigs.k8s.io/json v0.0.0-20250730193827-2d320260d730 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)
