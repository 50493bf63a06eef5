//! `--log-rotation-config-json`, and what Go's JSON says of one that is wrong.

use serde_json::Value;

use crate::goconv::Quoted;

/// Megabytes of a file when nothing is said.
const MEGABYTES: u64 = 100;

/// When a file is full, and which old ones stay. Zero is no limit, but for the size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) megabytes: u64,
    pub(crate) days: u32,
    pub(crate) backups: usize,
    pub(crate) local_time: bool,
    pub(crate) compress: bool,
}

impl Options {
    /// Reads the flag. The error is etcd's. As in Go, the case of names does not matter, unknown
    /// names are passed over, and null changes nothing.
    pub(crate) fn parse(json: &str) -> Result<Options, String> {
        let syntax = |error: &serde_json::Error| {
            format!("improperly formatted log rotation config: {}", go_syntax(json, error))
        };
        let value: Value = serde_json::from_str(json).map_err(|error| syntax(&error))?;
        let mut options = Options {
            megabytes: MEGABYTES,
            days: 0,
            backups: 0,
            local_time: false,
            compress: false,
        };
        let fields = match &value {
            Value::Object(fields) => fields,
            Value::Null => return Ok(options),
            other => {
                let kind = kind(other);
                return Err(format!(
                    "invalid log rotation config: json: cannot unmarshal {kind} into Go value of \
                     type embed.logRotationConfig"
                ));
            }
        };
        for (name, value) in fields {
            match name.to_ascii_lowercase().as_str() {
                "maxsize" => {
                    options.megabytes = match number("maxsize", value)? {
                        size if size > 0 => size.unsigned_abs(),
                        _ => MEGABYTES,
                    }
                }
                "maxage" => {
                    options.days = u32::try_from(number("maxage", value)?.max(0)).unwrap_or(0);
                }
                "maxbackups" => {
                    let backups = number("maxbackups", value)?.max(0);
                    options.backups = usize::try_from(backups).unwrap_or(0);
                }
                "localtime" => options.local_time = truth("localtime", value)?,
                "compress" => options.compress = truth("compress", value)?,
                _ => {}
            }
        }
        Ok(options)
    }

    /// Whether anything is done with old files.
    pub(crate) fn tidies(&self) -> bool {
        self.days > 0 || self.backups > 0 || self.compress
    }
}

fn number(name: &str, value: &Value) -> Result<i64, String> {
    match value {
        Value::Null => Ok(0),
        value => value.as_i64().ok_or_else(|| wrong_kind(name, value, "int")),
    }
}

fn truth(name: &str, value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| wrong_kind(name, value, "bool")),
    }
}

fn wrong_kind(name: &str, value: &Value, wanted: &str) -> String {
    let kind = kind(value);
    format!(
        "invalid log rotation config: json: cannot unmarshal {kind} into Go struct field \
         logRotationConfig.Logger.{name} of type {wanted}"
    )
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        // Go shows a number that does not fit.
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

/// What Go says where the JSON ends to be JSON.
fn go_syntax(json: &str, error: &serde_json::Error) -> String {
    let line = json.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let at = line.as_bytes().get(error.column().saturating_sub(1)).copied();
    let (Some(byte), false) = (at, error.is_eof()) else {
        return "unexpected end of JSON input".into();
    };
    let text = error.to_string();
    let place = [
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of object key string"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing characters", "after top-level value"),
    ];
    let place = place.into_iter().find(|(ours, _)| text.starts_with(ours));
    let place = place.map_or("looking for beginning of value", |(_, go)| go);
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = Quoted(&char::from(byte).to_string()).to_string();
            format!("'{}'", quoted.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let all = r#"{"maxsize": 5, "MaxAge": 7, "maxbackups": 3, "localtime": true,
                      "compress": true, "other": {}}"#;
        let expected =
            Options { megabytes: 5, days: 7, backups: 3, local_time: true, compress: true };
        assert_eq!(Options::parse(all), Ok(expected));
        let default = Options::parse(crate::settings::DEFAULT_ROTATION).expect("the default");
        assert_eq!(default.megabytes, 100);
        assert!(!default.tidies());
        assert_eq!(Options::parse("null"), Ok(default));
    }

    #[test]
    fn errors_are_etcds() {
        let invalid = |rest: &str| format!("invalid log rotation config: json: {rest}");
        let format = |rest: &str| format!("improperly formatted log rotation config: {rest}");
        let field = "into Go struct field logRotationConfig.Logger.maxsize of type int";
        let cases = [
            ("{\"maxsize\": true}", invalid(&format!("cannot unmarshal bool {field}"))),
            ("{\"maxsize\": \"x\"}", invalid(&format!("cannot unmarshal string {field}"))),
            ("{\"maxsize\": 1.5}", invalid(&format!("cannot unmarshal number 1.5 {field}"))),
            ("[]", invalid("cannot unmarshal array into Go value of type embed.logRotationConfig")),
            ("{\"maxsize\": true", format("unexpected end of JSON input")),
            ("", format("unexpected end of JSON input")),
            ("{bad", format("invalid character 'b' looking for beginning of object key string")),
            ("{\"a\" 1}", format("invalid character '1' after object key")),
            ("{\"a\": 1 2}", format("invalid character '2' after object key:value pair")),
            ("{} x", format("invalid character 'x' after top-level value")),
        ];
        for (json, error) in cases {
            assert_eq!(Options::parse(json), Err(error), "{json}");
        }
    }
}
