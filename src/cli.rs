//! Who starts it all: command line, composition roots, client commands.
