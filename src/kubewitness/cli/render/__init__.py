"""How answers look: table, wide, csv, json, jsonl, yaml; hostile text is made harmless here and nowhere earlier."""
