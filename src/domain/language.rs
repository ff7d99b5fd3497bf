//! Language tags.

/// The language of a tag, without its script and country: `zh-Hans_CN` is `zh`.
pub fn base(tag: &str) -> String {
    tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_country_are_left_out() {
        for (tag, language) in [("zh-CN", "zh"), ("EN_us", "en"), ("de", "de"), ("", ""), ("-x", "")] {
            assert_eq!(base(tag), language);
        }
    }
}
