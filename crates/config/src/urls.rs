//! Lists of URLs: what `--listen-client-urls`, `--cors` and `--initial-cluster` hold.
//!
//! Source: etcd's rules for a list of URLs (scheme http, https, unix or unixs; `host:port`; no
//! path; sorted) and the texts of its errors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::url::Url;

/// Reads URLs with etcd's rules and sorts them by their text. Nothing is removed.
pub fn parse_urls<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Url>, String> {
    let mut urls = texts.map(|text| parse_one(text.trim())).collect::<Result<Vec<_>, _>>()?;
    urls.sort_by_cached_key(Url::to_string);
    Ok(urls)
}

fn parse_one(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)?;
    match url.scheme() {
        "http" | "https" => {
            if !has_host_and_port(url.host()) {
                return Err(format!("URL address does not have the form \"host:port\": {text}"));
            }
            if !url.path().is_empty() {
                return Err(format!("URL must not contain a path: {text}"));
            }
            Ok(url)
        }
        "unix" | "unixs" => Ok(url),
        _ => Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
    }
}

/// Whether Go's `net.SplitHostPort` can split this: one colon outside brackets.
fn has_host_and_port(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(_, port)| port.starts_with(':')),
        None => host.matches(':').count() == 1,
    }
}

/// A flag's list of URLs: sorted, without duplicates, and with texts beside URLs that are allowed
/// (`*` for origins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlList {
    urls: Vec<Url>,
    values: BTreeSet<String>,
}

impl UrlList {
    /// A list of exactly these URLs, as a configuration file gives them.
    pub fn of(urls: Vec<Url>) -> UrlList {
        let values = urls.iter().map(Url::to_string).collect();
        UrlList { urls, values }
    }

    /// A list of one text that is not checked to be a URL.
    pub fn of_value(value: &str) -> UrlList {
        UrlList { urls: Vec::new(), values: BTreeSet::from([value.to_string()]) }
    }

    /// Replaces the list by a comma separated text. As in etcd, a text that the list already has
    /// changes nothing, and an allowed text is added to what is there.
    pub fn set(&mut self, text: &str, allowed: &str) -> Result<(), String> {
        if self.values.contains(text) {
            return Ok(());
        }
        if text == allowed {
            self.values.insert(text.to_string());
            return Ok(());
        }
        let mut urls = parse_urls(text.split(','))?;
        urls.dedup_by_key(|url| url.to_string());
        *self = UrlList::of(urls);
        Ok(())
    }

    /// Removes every URL.
    pub fn clear(&mut self) {
        *self = UrlList::default();
    }

    /// The texts of the list, sorted: URLs, and allowed texts such as `*`.
    pub fn values(&self) -> &BTreeSet<String> {
        &self.values
    }

    /// The texts of the URLs, in the list's order.
    pub fn texts(&self) -> Vec<String> {
        self.urls.iter().map(Url::to_string).collect()
    }

    /// The list as the flag shows it.
    pub fn joined(&self) -> String {
        self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// Puts another URL in the place of the first one.
    pub(crate) fn replace_first(&mut self, url: Url) {
        let mut urls = std::mem::take(&mut self.urls);
        urls[0] = url;
        *self = UrlList::of(urls);
    }
}

impl Deref for UrlList {
    type Target = [Url];

    fn deref(&self) -> &[Url] {
        &self.urls
    }
}

/// The members of an initial cluster: for each name its URLs, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlsMap(pub BTreeMap<String, Vec<Url>>);

impl UrlsMap {
    /// Reads `name=url,name=url`; a name may come again with another URL.
    pub fn parse(text: &str) -> Result<UrlsMap, String> {
        let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, url) = item.split_once('=').unwrap_or((item, ""));
            texts.entry(name).or_default().push(url);
        }
        let mut members = BTreeMap::new();
        for (name, urls) in texts {
            members.insert(name.to_string(), parse_urls(urls.into_iter())?);
        }
        Ok(UrlsMap(members))
    }

    /// Every URL of every member, sorted.
    pub fn urls(&self) -> Vec<String> {
        let mut all: Vec<String> = self.0.values().flatten().map(Url::to_string).collect();
        all.sort();
        all
    }

    /// `name=url` pairs, sorted.
    pub fn joined(&self) -> String {
        let pairs = |(name, urls): (&String, &Vec<Url>)| {
            urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = self.0.iter().flat_map(pairs).collect();
        all.sort();
        all.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_unique() {
        let mut list = UrlList::default();
        list.set("http://b:1, http://a:1,http://b:1", "").expect("valid URLs");
        assert_eq!(list.texts(), ["http://a:1", "http://b:1"]);
        assert_eq!(list.joined(), "http://a:1,http://b:1");
    }

    #[test]
    fn a_text_already_there_keeps_the_rest() {
        let mut list = UrlList::default();
        list.set("http://b:1,http://a:1", "").expect("valid URLs");
        list.set("http://a:1", "").expect("valid URL");
        assert_eq!(list.len(), 2);
        list.set("", "").expect("the empty text is allowed");
        assert_eq!(list.len(), 2);
        assert_eq!(list.joined(), ",http://a:1,http://b:1");
    }

    #[test]
    fn the_rules_have_etcds_texts() {
        let cases = [
            ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://[::1]", "URL address does not have the form \"host:port\": http://[::1]"),
            ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
            ("http://a:1,b", "URL scheme must be http, https, unix, or unixs: b"),
        ];
        for (text, error) in cases {
            assert_eq!(parse_urls(text.split(',')), Err(error.to_string()));
        }
    }

    #[test]
    fn an_initial_cluster_groups_by_name() {
        let map = UrlsMap::parse("b=http://b:2,a=http://a:1,,b=http://b:1").expect("valid");
        assert_eq!(map.joined(), "a=http://a:1,b=http://b:1,b=http://b:2");
        assert_eq!(map.urls(), ["http://a:1", "http://b:1", "http://b:2"]);
        let error = UrlsMap::parse("a").expect_err("no URL");
        assert_eq!(error, "URL scheme must be http, https, unix, or unixs: ");
    }
}
