//! A browser without script: keeps its cookie, follows where it is sent, and sends forms as they stand.

use crate::app::TestApp;

/// A tab.
pub struct Tab<'a> {
    app: &'a TestApp,
    pub cookie: String,
    pub status: u16,
    pub body: String,
    pub path: String,
}

impl<'a> Tab<'a> {
    pub fn open(app: &'a TestApp, path: &str) -> Self {
        let mut tab = Self {
            app,
            cookie: String::new(),
            status: 0,
            body: String::new(),
            path: String::new(),
        };
        tab.go(path);
        tab
    }

    /// Opens a path.
    pub fn go(&mut self, path: &str) {
        self.ask("GET", path, "");
    }

    /// Sends the page's form with this action: its hidden fields, and `fields` as they were typed.
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) {
        let hidden = self.hidden(path);
        let hidden = hidden.unwrap_or_else(|| panic!("no form is sent to {path}: {}", self.body));
        self.send(path, &hidden, fields);
    }

    /// Sends the fields from a page that has no such form, with the token of its session.
    pub fn submit_anyway(&mut self, path: &str, fields: &[(&str, &str)]) {
        let token = [("token".to_owned(), self.token())];
        self.send(path, &token, fields);
    }

    fn send(&mut self, path: &str, hidden: &[(String, String)], fields: &[(&str, &str)]) {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        let typed = |(name, _): &&(String, String)| !fields.iter().any(|(field, _)| field == name);
        body.extend_pairs(hidden.iter().filter(typed));
        body.extend_pairs(fields);
        self.ask("POST", path, &body.finish());
    }

    /// The hidden fields of the form with this action.
    pub fn hidden(&self, action: &str) -> Option<Vec<(String, String)>> {
        let action = format!("action=\"{action}\"");
        let mut forms = self.body.split("<form").skip(1);
        let form = forms.find(|form| form.split('>').next().is_some_and(|tag| tag.contains(&action)))?;
        let form = form.split("</form>").next()?;
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        let pair = |rest: &str| {
            let (name, rest) = rest.split_once("\" value=\"").unwrap();
            (name.to_owned(), unescaped(rest))
        };
        Some(inputs.map(pair).collect())
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) {
        let (mut method, mut path, mut body) = (method, path.to_owned(), body);
        for _ in 0..5 {
            let own = format!("http://127.0.0.1:{}", self.app.port);
            let mut headers = vec![
                ("accept", "text/html"),
                ("cookie", self.cookie.as_str()),
                ("content-type", "application/x-www-form-urlencoded"),
            ];
            if method == "POST" {
                headers.push(("origin", &own));
            }
            let answer = self.app.send(method, &path, &headers, body.as_bytes());
            if let Some(cookie) = answer.header("set-cookie") {
                assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
                self.cookie = cookie.split(';').next().unwrap().to_owned();
            }
            self.status = answer.status;
            self.path = path;
            self.body = answer.body.clone();
            if answer.status != 303 {
                return;
            }
            (method, body) = ("GET", "");
            path = answer.header("location").unwrap().to_owned();
        }
        panic!("sent in a circle");
    }

    /// The token of the page's forms; empty if there is none.
    pub fn token(&self) -> String {
        let after = self.body.split("name=\"token\" value=\"").nth(1);
        after
            .map_or("", |rest| rest.split('"').next().unwrap())
            .to_owned()
    }

    /// What stands in a field.
    pub fn value(&self, name: &str) -> String {
        let values = self.values(name);
        let first = values.into_iter().next();
        first.unwrap_or_else(|| panic!("there is no field {name}: {}", self.body))
    }

    /// What stands in every field of a name.
    pub fn values(&self, name: &str) -> Vec<String> {
        let tag = format!("name=\"{name}\" value=\"");
        self.body.split(&tag).skip(1).map(unescaped).collect()
    }
}

/// The value of an attribute that `rest` begins with.
fn unescaped(rest: &str) -> String {
    let text = rest.split('"').next().unwrap();
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}
