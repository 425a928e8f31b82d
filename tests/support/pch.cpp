// Gives the precompiled header of the tests its object library.
