"""What any long-running program needs: work queues, metrics, logs, bounded caches, proxies, memory. It knows neither Kubernetes nor Git."""
