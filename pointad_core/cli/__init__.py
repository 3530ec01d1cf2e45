"""What a shell calls: `pointad` and its subcommands, a module each."""
