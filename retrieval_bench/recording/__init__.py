"""A finished run -> its record, tables and gallery files."""
