"""What others would run: short scripts, written as a competent user of each library would write them."""
