//! What is there now, and may be replaced: who began with the one before goes on with it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A place that holds one thing at a time. Clones share the place.
pub struct Current<T: ?Sized>(Arc<RwLock<Arc<T>>>);

impl<T: ?Sized> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl<T: ?Sized> Current<T> {
    /// A place with this in it.
    pub fn new(first: Arc<T>) -> Self {
        Self(Arc::new(RwLock::new(first)))
    }

    /// What is there now.
    pub fn now(&self) -> Arc<T> {
        // one assignment is all that is ever done under it
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place.
    pub fn replace(&self, next: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
