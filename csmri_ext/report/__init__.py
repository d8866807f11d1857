"""What a comparison found: rows, their store, summary, verdict, tables, figures and the page."""
