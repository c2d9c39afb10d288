"""From statements to source text: what every target language shares, and a folder for each."""
