//! What is answered under which path.

use std::sync::Arc;

use axum::middleware;
use axum::routing::{get, post};

use super::super::Routes;
use super::{Door, activate, bootstrap, downloads, origin};

/// The routes of this room. Each path stands with and without its last slash: firmware follows no redirect.
pub(super) fn routes(door: &Arc<Door>) -> Routes {
    let ask = || get(bootstrap::bootstrap).post(bootstrap::bootstrap);
    let browsers = middleware::from_fn_with_state(Arc::clone(door), origin::guard);
    let boards = Routes::new()
        .route("/xiaozhi/ota", ask())
        .route("/xiaozhi/ota/", ask())
        .route("/xiaozhi/ota/activate", post(activate::activate))
        .route("/xiaozhi/ota/activate/", post(activate::activate))
        .route_layer(browsers);
    boards.route("/xiaozhi/firmware/{id}/{ticket}", get(downloads::download)).with_state(Arc::clone(door))
}
