//! How a topic of one side is called on the other.

use super::settings::RouteSettings;
use crate::topics;

/// One filter of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// What is subscribed to, on the side where a message comes from.
    pub filter: String,
    /// At most this.
    pub qos: u8,
    /// Taken from the topic, and put in its place.
    strip: String,
    put: String,
}

impl Route {
    /// From here to the other broker.
    pub fn out(settings: &RouteSettings) -> Self {
        Self::new(settings, &settings.prefix_local, &settings.prefix_remote)
    }

    /// From the other broker to here.
    pub fn incoming(settings: &RouteSettings) -> Self {
        Self::new(settings, &settings.prefix_remote, &settings.prefix_local)
    }

    fn new(settings: &RouteSettings, strip: &str, put: &str) -> Self {
        let filter = format!("{strip}{}", settings.filter);
        Self { filter, qos: settings.qos, strip: strip.to_owned(), put: put.to_owned() }
    }

    fn translate(&self, topic: &str) -> Option<String> {
        if !topics::matches(&self.filter, topic) {
            return None;
        }
        // `a/#` matches `a`, too, which does not begin with `a/`
        let rest = topic.strip_prefix(&self.strip)?;
        let translated = format!("{}{rest}", self.put);
        // what is below `$` is each broker's own
        (topics::valid_topic(&translated) && !translated.starts_with('$')).then_some(translated)
    }
}

/// What the first route that fits makes of a topic.
pub(super) fn translate(routes: &[Route], topic: &str) -> Option<String> {
    routes.iter().find_map(|route| route.translate(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(filter: &str, prefix_local: &str, prefix_remote: &str) -> RouteSettings {
        let (filter, prefix_local, prefix_remote) = (filter.into(), prefix_local.into(), prefix_remote.into());
        RouteSettings { filter, prefix_local, prefix_remote, qos: 1 }
    }

    #[test]
    fn prefixes_are_exchanged_and_the_rest_stays() {
        let settings = settings("+/state", "home/", "site1/home/");
        let out = [Route::out(&settings)];
        assert_eq!(out[0].filter, "home/+/state");
        assert_eq!(translate(&out, "home/lamp/state").as_deref(), Some("site1/home/lamp/state"));
        assert_eq!(translate(&out, "home/lamp/power"), None);
        let incoming = [Route::incoming(&settings)];
        assert_eq!(incoming[0].filter, "site1/home/+/state");
        assert_eq!(translate(&incoming, "site1/home/lamp/state").as_deref(), Some("home/lamp/state"));
    }

    #[test]
    fn the_first_route_that_fits_counts() {
        let routes = [Route::out(&settings("a", "", "one/")), Route::out(&settings("#", "", "all/"))];
        assert_eq!(translate(&routes, "a").as_deref(), Some("one/a"));
        assert_eq!(translate(&routes, "b").as_deref(), Some("all/b"));
    }

    #[test]
    fn nothing_becomes_a_topic_of_the_broker_itself_or_none_at_all() {
        let routes = [Route::out(&settings("#", "x/", ""))];
        assert_eq!(translate(&routes, "x/$SYS/broker"), None);
        assert_eq!(translate(&routes, "x"), None);
        assert_eq!(translate(&routes, "x/"), None);
        assert_eq!(translate(&[Route::out(&settings("#", "", ""))], "$SYS/broker"), None);
    }
}
