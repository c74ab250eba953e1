//! The file of `--web.config.file`: what its keys mean. Every key of exporter-toolkit is known here; one that is not, or a value that
//! can't be done, is an error that names it.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use rustls::{
    NamedGroup, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, NoServerSessionStorage, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    Files,
    clients::Clients,
    passwords::Users,
    yaml::{self, Node},
};

/// What the file says.
pub(super) struct Rules {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) users: Users,
    /// Fields of every answer.
    pub(super) headers: Vec<(String, String)>,
}

impl Rules {
    /// Reads the file and those that it names.
    pub(super) fn read(files: &mut Files, path: &Path) -> Result<Rules> {
        let text = String::from_utf8(files.read(path)?).context("it is not UTF-8")?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut file = Section::of(yaml::parse(&text)?)?;
        let tls = file.section("tls_server_config", |section| tls(section, files, folder))?;
        let headers = file.section("http_server_config", http)?;
        let users = file.section("basic_auth_users", users)?;
        file.section("rate_limit", |section| match section.text("interval")?.as_deref() {
            None | Some("0" | "0s") => section.text("burst").map(drop),
            Some(_) => bail!("interval: not supported"),
        })?;
        file.end()?;
        Ok(Rules { tls, users, headers })
    }
}

fn tls(
    section: &mut Section,
    files: &mut Files,
    folder: &Path,
) -> Result<Option<Arc<ServerConfig>>> {
    let mut pem = |inline: &str, file: &str| {
        let text = section.text(inline)?;
        Ok::<_, anyhow::Error>(match section.text(file)? {
            Some(path) => Some(files.read(&folder.join(path)).with_context(|| file.to_owned())?),
            None => text.map(String::into_bytes),
        })
    };
    let certificate = pem("cert", "cert_file")?;
    let key = pem("key", "key_file")?;
    let authorities = pem("client_ca", "client_ca_file")?;
    let kind = section.text("client_auth_type")?;
    let names = section.list("client_allowed_sans")?;
    let provider = Arc::new(provider(section)?);
    let versions = versions(section)?;
    let prefers_own = section.flag("prefer_server_cipher_suites", true)?;
    if certificate.is_none() && key.is_none() && authorities.is_none() && kind.is_none() {
        return Ok(None);
    }
    let certificate =
        certificates(&certificate.context("cert_file: missing")?).context("cert_file")?;
    let key = PrivateKeyDer::from_pem_slice(&key.context("key_file: missing")?);
    let key = key.map_err(|_| anyhow!("key_file: expected a key in PEM"))?;
    let authorities =
        authorities.map(|pem| certificates(&pem).context("client_ca_file")).transpose()?;
    let clients = match Clients::new(&kind.unwrap_or_default(), authorities, names, &provider)? {
        Some(clients) => Arc::new(clients) as Arc<dyn ClientCertVerifier>,
        None => Arc::new(NoClientAuth),
    };
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let config = config.with_client_cert_verifier(clients).with_single_cert(certificate, key);
    let mut config = config.context("cert_file and key_file")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = prefers_own;
    // A session that is taken up again would not show its certificate again; and connections are kept.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|_| anyhow!("it is not PEM"))?;
    if read.is_empty() { bail!("expected a certificate in PEM") } else { Ok(read) }
}

/// The cipher suites of TLS 1.2 can be chosen; those of TLS 1.3 can't, as in Go.
fn provider(section: &mut Section) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    let (newer, older): (Vec<_>, Vec<_>) =
        provider.cipher_suites.drain(..).partition(|suite| suite.version() == &TLS13);
    let mut chosen = Vec::new();
    let asked = section.list("cipher_suites")?.unwrap_or_default();
    for name in &asked {
        let is_it = |suite: &&_| go_name(suite) == *name;
        match older.iter().find(is_it) {
            Some(suite) => chosen.push(*suite),
            None if newer.iter().any(|suite| is_it(&suite)) => {}
            None => bail!("cipher_suites: {name} is not supported"),
        }
    }
    provider.cipher_suites = newer;
    provider.cipher_suites.extend(if asked.is_empty() { older } else { chosen });
    if let Some(names) = section.list("curve_preferences")?.filter(|names| !names.is_empty()) {
        let groups = std::mem::take(&mut provider.kx_groups);
        for name in names {
            let group = match name.as_str() {
                "X25519" => NamedGroup::X25519,
                "CurveP256" => NamedGroup::secp256r1,
                "CurveP384" => NamedGroup::secp384r1,
                _ => bail!("curve_preferences: {name} is not supported"),
            };
            provider.kx_groups.extend(groups.iter().filter(|known| known.name() == group));
        }
    }
    Ok(provider)
}

fn go_name(suite: &rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn versions(section: &mut Section) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let mut version = |key: &str, default: usize| match section.text(key)?.as_deref() {
        None => Ok(default),
        Some("TLS12") => Ok(0),
        Some("TLS13") => Ok(1),
        Some(other) => Err(anyhow!("{key} {other:?}: expected TLS12 or TLS13")),
    };
    let (oldest, newest) = (version("min_version", 0)?, version("max_version", 1)?);
    let all = [&TLS12, &TLS13];
    let versions = all.get(oldest..=newest).filter(|versions| !versions.is_empty());
    Ok(versions.context("min_version: expected one that is not above max_version")?.to_vec())
}

fn http(section: &mut Section) -> Result<Vec<(String, String)>> {
    // There is only HTTP/1.1, which every client speaks.
    section.flag("http2", true)?;
    section.section("headers", |headers| {
        let mut fields = Vec::new();
        for (name, allowed) in [
            ("Content-Security-Policy", &[][..]),
            ("X-Frame-Options", &["deny", "sameorigin"]),
            ("X-Content-Type-Options", &["nosniff"]),
            ("X-XSS-Protection", &[]),
            ("Strict-Transport-Security", &[]),
        ] {
            let Some(value) = headers.text(name)? else { continue };
            if value.contains(char::is_control)
                || !(allowed.is_empty() || allowed.contains(&value.as_str()))
            {
                bail!(
                    "{name} {value:?}: expected {}",
                    if allowed.is_empty() { "one line".to_owned() } else { allowed.join(" or ") }
                );
            }
            fields.push((name.to_owned(), value));
        }
        Ok(fields)
    })
}

fn users(section: &mut Section) -> Result<Users> {
    let mut users = Users::new();
    for (user, hash) in std::mem::take(&mut section.entries) {
        let Node::Text(hash) = hash else { bail!("{user}: expected a bcrypt hash") };
        let parts: Result<bcrypt::HashParts, _> = hash.parse();
        match parts {
            Ok(parts) if (4..=31).contains(&parts.get_cost()) => users.insert(user, hash),
            _ => bail!("{user}: expected a bcrypt hash, as htpasswd -nBC 10 prints it"),
        };
    }
    Ok(users)
}

/// A map of the file, from which one key after the other is taken.
#[derive(Default)]
struct Section {
    entries: Vec<(String, Node)>,
}

impl Section {
    fn of(node: Node) -> Result<Section> {
        match node {
            Node::Map(entries) => Ok(Section { entries }),
            Node::Nothing => Ok(Section::default()),
            _ => bail!("expected keys with values"),
        }
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        let place = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.swap_remove(place).1).filter(|node| *node != Node::Nothing)
    }

    /// Reads a map in this one, whole.
    fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section) -> Result<T>) -> Result<T> {
        let whole = |node| {
            let mut section = Section::of(node)?;
            let value = read(&mut section)?;
            section.end().map(|()| value)
        };
        whole(self.take(key).unwrap_or(Node::Nothing)).with_context(|| key.to_owned())
    }

    /// An empty text is none, as in Go.
    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => bail!("{key}: expected a text"),
        }
    }

    fn list(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        let texts = |node| match node {
            Node::Text(text) => Ok(text),
            _ => Err(anyhow!("{key}: expected a list of texts")),
        };
        match self.take(key) {
            None => Ok(None),
            Some(Node::List(nodes)) => {
                nodes.into_iter().map(texts).collect::<Result<_>>().map(Some)
            }
            Some(_) => bail!("{key}: expected a list of texts"),
        }
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.text(key)?.map(|text| text.to_ascii_lowercase()).as_deref() {
            None => Ok(default),
            Some("true" | "yes" | "on" | "y") => Ok(true),
            Some("false" | "no" | "off" | "n") => Ok(false),
            Some(_) => bail!("{key}: expected true or false"),
        }
    }

    /// Nothing may be left.
    fn end(self) -> Result<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => bail!("{key}: unknown key"),
        }
    }
}
