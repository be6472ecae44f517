"""What a lesson is made of: magics, tables, claims, questions and exercises."""
