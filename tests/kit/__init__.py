"""What tests are made with: clusters, servers, the operator as a process, samples. No suite is among it."""
