"""Golden cases: repository + live -> plan + status. `cases/*.yaml` are written, `recorded/` is what a real server said."""
