"""What a reconstruction is compared with: TV, BART, published networks; and the comparison itself."""
