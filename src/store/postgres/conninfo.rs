//! Takes apart the text of `DATABASE_URL`, as far as tokio-postgres does not understand it as libpq does.

use url::form_urlencoded;

/// A connection text without the options that this crate handles itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conninfo {
    /// What is left, for tokio-postgres.
    pub(super) rest: String,
    /// tokio-postgres knows no `verify-ca` and no `verify-full`.
    pub(super) sslmode: Option<String>,
    /// tokio-postgres does not know it.
    pub(super) sslrootcert: Option<String>,
    /// tokio-postgres reads seconds where libpq documents milliseconds.
    pub(super) tcp_user_timeout: Option<String>,
    /// The names of all options that were given.
    pub(super) names: Vec<String>,
}

impl Conninfo {
    /// Takes `text` apart, or says what is wrong with it, without repeating it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        for prefix in ["postgres://", "postgresql://"] {
            if let Some(rest) = text.strip_prefix(prefix) {
                return Self::parse_url(prefix, rest);
            }
        }
        Self::parse_pairs(text)
    }

    /// Whether the option was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|given| given == name)
    }

    fn parse_url(prefix: &str, text: &str) -> Result<Self, &'static str> {
        // tokio-postgres takes everything before the first @ for user and password. A URL that begins with a
        // slash has neither, so its @ belongs to an option, such as the user of Cloud SQL's IAM login.
        let text = if text.starts_with(['/', '?']) {
            text.replace('@', "%40")
        } else {
            text.to_owned()
        };
        let behind_credentials = text.find('@').map_or(0, |at| at + 1);
        let query_at = text[behind_credentials..]
            .find('?')
            .map(|at| behind_credentials + at);
        let (base, query) = query_at.map_or((text.as_str(), ""), |at| (&text[..at], &text[at + 1..]));
        // Behind the host as libpq sees it there is none, so this one is of a password and its rest was taken for the host.
        if base[behind_credentials..].contains('@') {
            return Err("is not valid: an @ in the user, the password or the database is written %40");
        }
        let mut conninfo = Self::default();
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // In these URLs a plus sign is a plus sign.
            let plain = pair.replace('+', "%2B");
            if let Some((name, value)) = form_urlencoded::parse(plain.as_bytes()).next()
                && !conninfo.take(&name, &value)
            {
                kept.push(pair);
            }
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        conninfo.rest = format!("{prefix}{base}{mark}{}", kept.join("&"));
        Ok(conninfo)
    }

    fn parse_pairs(text: &str) -> Result<Self, &'static str> {
        let mut conninfo = Self::default();
        let mut kept = Vec::new();
        let mut chars = text.trim_start();
        while !chars.is_empty() {
            let (name, behind) = chars
                .split_once('=')
                .ok_or("is not valid: a postgres:// URL, key=value text, or sqlite:PATH")?;
            let name = name.trim_end();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err("is not valid: key=value text with a space in a value that has no quotes");
            }
            let (value, behind) = value(behind.trim_start())?;
            if !conninfo.take(name, &value) {
                let escaped = value.replace('\\', r"\\").replace('\'', r"\'");
                kept.push(format!("{name}='{escaped}'"));
            }
            chars = behind.trim_start();
        }
        conninfo.rest = kept.join(" ");
        Ok(conninfo)
    }

    /// Notes the option; `true` if it is one of those that are handled here.
    fn take(&mut self, name: &str, value: &str) -> bool {
        self.names.push(name.to_owned());
        let slot = match name {
            "sslmode" => &mut self.sslmode,
            "sslrootcert" => &mut self.sslrootcert,
            "tcp_user_timeout" => &mut self.tcp_user_timeout,
            _ => return false,
        };
        *slot = Some(value.to_owned());
        true
    }
}

/// One value of key=value text, and what comes behind it. A backslash takes the next character as it is.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |text| (true, text));
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            char if !quoted && char.is_whitespace() => return Ok((value, &text[at..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            char => value.push(char),
        }
    }
    if quoted {
        Err("is not valid: key=value text with a quote that is not closed")
    } else {
        Ok((value, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_leave_a_url_and_the_rest_stays_as_it_was() {
        let text =
            "postgres://me:p%40ss@db:1/links?sslmode=verify-full&options=-c%20a%3Db+c&sslrootcert=%2Fca.pem";

        let conninfo = Conninfo::parse(text).unwrap();

        assert_eq!(
            conninfo.rest,
            "postgres://me:p%40ss@db:1/links?options=-c%20a%3Db+c"
        );
        assert_eq!(conninfo.sslmode.as_deref(), Some("verify-full"));
        assert_eq!(conninfo.sslrootcert.as_deref(), Some("/ca.pem"));
        assert_eq!(conninfo.names, ["sslmode", "options", "sslrootcert"]);
    }

    #[test]
    fn a_question_mark_in_a_password_does_not_begin_the_options() {
        let conninfo = Conninfo::parse("postgres://me:why?sslmode=no@db/links?sslmode=require").unwrap();

        assert_eq!(conninfo.rest, "postgres://me:why?sslmode=no@db/links");
        assert_eq!(conninfo.sslmode.as_deref(), Some("require"));
    }

    #[test]
    fn an_at_sign_in_an_option_is_not_taken_for_the_end_of_a_password() {
        let conninfo = Conninfo::parse("postgres:///links?user=me@project.iam&host=/cloudsql/p:r:i").unwrap();

        assert_eq!(
            conninfo.rest,
            "postgres:///links?user=me%40project.iam&host=/cloudsql/p:r:i"
        );
    }

    #[test]
    fn tls_options_leave_key_value_text() {
        let text = r"host=db password='it\'s \\ mine' sslmode = 'verify-ca' tcp_user_timeout=1500 port=1";

        let conninfo = Conninfo::parse(text).unwrap();

        assert_eq!(conninfo.rest, r"host='db' password='it\'s \\ mine' port='1'");
        assert_eq!(conninfo.sslmode.as_deref(), Some("verify-ca"));
        assert_eq!(conninfo.tcp_user_timeout.as_deref(), Some("1500"));
    }

    #[test]
    fn malformed_text_is_refused_without_being_repeated() {
        for text in [
            "hunter2",
            "host=db password=hunter2 three=x y",
            "password='hunter2",
            "a hunter2=x",
            "postgres://me:p@hunter2@db/links",
            "postgres://me:p@hunter2/x@db/links",
        ] {
            let reason = Conninfo::parse(text).unwrap_err();

            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
