"""What any long-running program has: work queues, metrics, logs, bounded caches, proxies, memory. Knows neither Kubernetes nor Git."""
