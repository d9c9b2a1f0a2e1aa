"""The Parquet store on a real disk: write order, crashes, many processes, damage."""
