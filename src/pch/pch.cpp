// Gives the precompiled header its object library.
