"""What a chapter teaches with: claims, questions, exercises, tables, the cell magics."""
