"""What workloads and routers of a Kubernetes cluster share: how tracks are told apart, when pods are ready, what forbids."""
