//! Who asks: extract, one message or one snapshot read, wire type. It translates, it does not think.
