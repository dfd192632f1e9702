"""The rules that set the urgency, as data (`data/*.json`), and the small evaluator that reads them."""
