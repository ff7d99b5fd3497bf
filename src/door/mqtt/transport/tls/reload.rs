//! New files take the place of old ones while connections stay.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Tls;

/// Looks at the files in each interval and when asked, until `stop`. A pair that does not work changes nothing.
pub(in crate::door::mqtt) async fn watch(tls: Arc<Tls>, stop: CancellationToken) {
    let mut every = tokio::time::interval(tls.settings.reload.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => false,
            () = tls.asked.notified() => true,
        };
        let looking = Arc::clone(&tls);
        let Ok(result) = tokio::task::spawn_blocking(move || looking.refresh()).await else { continue };
        match result {
            Ok(false) if asked => tracing::info!("the tls files have not changed since they were last tried"),
            Ok(false) => last = None,
            Ok(true) => {
                last = None;
                tls.metrics.tls_reload("ok");
                tracing::info!("the tls certificate was read anew, new connections get it");
            }
            // a file that stays away is told once
            Err(error) if last.as_ref() == Some(&error) => {}
            Err(error) => {
                tls.metrics.tls_reload("failed");
                tracing::error!(%error, "the tls certificate stays as it was, the new one does not work");
                last = Some(error);
            }
        }
    }
}
