//! A game definition as read from `catalog/games/*.toml`, and the `/config` body that picks one.
