"""What a Sync or Source says: conditions, messages, differences, history, Events. Previous status and an outcome in, the next status out. Pure."""
