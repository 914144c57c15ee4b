"""The bus pillar: merges rings into one total order."""
