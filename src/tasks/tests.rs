//! Tasks on a real store, worked on by scripted work.
