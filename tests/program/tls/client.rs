//! A client that speaks TLS.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::files::Files;
use crate::harness::{Answer, PATIENCE};

pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Trusts the files' authority, and shows a certificate, with those that lead to its authority, or
/// none.
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    pub fn new(files: &Files, certificate: Option<&str>) -> Client {
        Client::with(files, certificate, BOTH)
    }

    pub fn with(
        files: &Files,
        certificate: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(files.path("ca.crt")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::pem_file_iter(files.path(&format!("{name}.crt")));
                let chain = chain.unwrap().map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Client { config: Arc::new(config) }
    }

    /// Nothing is sent yet.
    pub fn connect(&self, address: &str) -> Stream {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        self.over(socket)
    }

    pub fn over(&self, socket: TcpStream) -> Stream {
        StreamOwned::new(self.session(), socket)
    }

    pub fn session(&self) -> ClientConnection {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        ClientConnection::new(Arc::clone(&self.config), name).unwrap()
    }

    /// Sends this, with `Connection: close` in it, and reads to the end.
    pub fn ask(&self, address: &str, request: &str) -> io::Result<Answer> {
        let mut stream = self.connect(address);
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        // The first byte, or why there is none.
        let mut whole = Vec::new();
        match io::Read::read_to_end(&mut stream, &mut whole) {
            Err(error) if whole.is_empty() => Err(error),
            _ => Ok(Answer::read_to_end(&mut whole.as_slice())),
        }
    }

    pub fn get(
        &self,
        address: &str,
        path: &str,
        login: Option<(&str, &str)>,
    ) -> io::Result<Answer> {
        self.ask(address, &get(path, login))
    }
}

pub fn get(path: &str, login: Option<(&str, &str)>) -> String {
    let login = login.map(|(user, password)| authorization(user, password)).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{login}Connection: close\r\n\r\n")
}

pub fn authorization(user: &str, password: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
