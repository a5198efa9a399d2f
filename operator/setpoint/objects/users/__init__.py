"""Who uses ConfigMaps, Secrets, ServiceAccounts and claims: what a pod template names, and who wants pods of it. Pure."""
