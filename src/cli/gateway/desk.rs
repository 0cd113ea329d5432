//! The front desk: people, tokens, audit log and keys, straight in the database. A gateway that runs notices at once.
use super::{Failure, block_on, cannot, database, key_file};
use crate::{
    actors::{
        directory::Directory,
        doorkeeper::{Doorkeeper, Note, PeopleRefused, TokenWish},
    },
    cli::{
        args::gateway::{AuditVerb, GatewayVerb, KeyVerb, TokenVerb, UserVerb},
        show::look::{Look, finish},
    },
    config::{self, Origins},
    host::{
        clock,
        database::{Database, End},
        keyring::{self, Keyring},
    },
    model::{
        gateway::{Audience, Credential, Role, Scope, User, settings::GatewaySettings},
        time::WallTime,
    },
};
use std::{io::BufRead, process::ExitCode, sync::Arc};

pub fn run(verb: GatewayVerb, settings: &GatewaySettings, origins: &Origins) -> Result<ExitCode, Failure> {
    if matches!(verb, GatewayVerb::Settings) {
        print!("{}", config::show_all(config::gateway::table(), settings, origins));
        return Ok(ExitCode::SUCCESS);
    }
    block_on(1, async {
        let desk = Desk::open(settings).await?;
        let code = desk.serve(verb).await?;
        desk.database.close().await;
        Ok(code)
    })
}

struct Desk {
    database: Database,
    directory: Directory,
    doorkeeper: Doorkeeper,
    settings: GatewaySettings,
}

impl Desk {
    async fn open(settings: &GatewaySettings) -> Result<Desk, Failure> {
        let database = database(settings).await?;
        let directory = Directory::open(database.clone(), key_file(settings), settings.refresh).await;
        let directory = directory.map_err(cannot("read people and servers"))?;
        let doorkeeper = Doorkeeper::new(directory.clone(), Arc::new(settings.clone()));
        Ok(Desk { database, directory, doorkeeper, settings: settings.clone() })
    }

    async fn serve(&self, verb: GatewayVerb) -> Result<ExitCode, Failure> {
        match verb {
            GatewayVerb::User(verb) => self.user(verb).await?,
            GatewayVerb::Token(verb) => self.token(verb).await?,
            GatewayVerb::Audit(AuditVerb::List { lines }) => self.list_audit(lines).await?,
            GatewayVerb::Audit(AuditVerb::Verify { head }) => return self.verify_audit(head.as_deref()).await,
            GatewayVerb::Key(KeyVerb::Rotate) => self.rotate_keys().await?,
            GatewayVerb::Settings => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn user(&self, verb: UserVerb) -> Result<(), Failure> {
        match verb {
            UserVerb::Add { name, admin, password_stdin } => {
                let password = chosen_password(password_stdin)?;
                let role = if admin { Role::Admin } else { Role::Owner };
                self.doorkeeper.add_user(&name, role, password.text.clone()).await.map_err(refused(&name))?;
                self.note("user add", &name).await;
                println!("added {role} {name}");
                password.tell();
            }
            UserVerb::List => self.list_people(),
            UserVerb::Password { name, password_stdin } => {
                let password = chosen_password(password_stdin)?;
                self.doorkeeper.set_password(&name, password.text.clone()).await.map_err(refused(&name))?;
                self.note("user password", &name).await;
                password.tell();
            }
            UserVerb::Revoke { name } => {
                self.doorkeeper.revoke_all(&name).await.map_err(refused(&name))?;
                self.note("user revoke", &name).await;
            }
            UserVerb::Suspend { name } => self.suspend(&name, true).await?,
            UserVerb::Resume { name } => self.suspend(&name, false).await?,
            UserVerb::Remove { name } => {
                self.doorkeeper.remove_user(&name).await.map_err(refused(&name))?;
                self.note("user remove", &name).await;
            }
        }
        Ok(())
    }

    fn known(&self, name: &str) -> Result<Arc<User>, Failure> {
        let found = self.directory.people().named(name).cloned();
        found.ok_or_else(|| Failure(no_such_user(name)))
    }

    async fn suspend(&self, name: &str, suspended: bool) -> Result<(), Failure> {
        self.doorkeeper.suspend(name, suspended).await.map_err(refused(name))?;
        self.note(if suspended { "user suspend" } else { "user resume" }, name).await;
        Ok(())
    }

    fn list_people(&self) {
        let people = self.directory.people();
        let mut users: Vec<&Arc<User>> = people.users.values().collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        let mut table = Look::of_stdout().table(&["NAME", "ROLE", "STATE", "SINCE", "ID"]);
        for user in users {
            let state = if user.suspended { "suspended" } else { "active" };
            let since = user.created_at.to_string();
            table.add_row([&user.name, user.role.as_str(), state, &since, &user.id.0]);
        }
        print!("{}", finish(table));
    }

    async fn token(&self, verb: TokenVerb) -> Result<(), Failure> {
        match verb {
            TokenVerb::Create { user, name, scopes, audience, expires } => {
                let user = self.known(&user)?;
                let wish = wish(name, &scopes, &audience, expires.as_deref())?;
                let made = self.doorkeeper.make_token(&user, wish).await.map_err(cannot("make the token"))?;
                self.note("token create", &made.credential.id).await;
                eprintln!("token {} of {}; it is shown this once", made.credential.id, user.name);
                println!("{}", made.secret.0);
            }
            TokenVerb::List { user } => self.list_tokens(user.as_deref())?,
            TokenVerb::Revoke { id } => {
                let there = self.doorkeeper.revoke(&id).await.map_err(cannot("revoke"))?;
                self.note("token revoke", &id).await;
                if !there {
                    return Err(Failure(format!("there is no token {id}; `zlh gateway token list` lists all")));
                }
            }
        }
        Ok(())
    }

    fn list_tokens(&self, user: Option<&str>) -> Result<(), Failure> {
        let only = user.map(|name| self.known(name)).transpose()?;
        let people = self.directory.people();
        let of = |c: &&Arc<Credential>| only.as_ref().is_none_or(|user| user.id == c.user);
        let mut all: Vec<&Arc<Credential>> = people.by_id.values().filter(of).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let mut table = Look::of_stdout().table(&["ID", "KIND", "USER", "NAME", "SCOPES", "AUDIENCE", "EXPIRES"]);
        for c in all {
            let owner = people.users.get(&c.user).map_or("?", |user| &user.name);
            let scopes = c.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(",");
            let expires = c.expires_at.map_or("never".to_owned(), |at| at.to_string());
            table.add_row([&c.id, c.kind.as_str(), owner, &c.name, &scopes, c.audience.as_str(), &expires]);
        }
        print!("{}", finish(table));
        Ok(())
    }

    async fn list_audit(&self, lines: u32) -> Result<(), Failure> {
        let entries = self.database.audit_newest(i64::from(lines)).await.map_err(cannot("read the audit log"))?;
        let mut table = Look::of_stdout().table(&["#", "AT", "WHO", "FROM", "WHAT", "ON", "OUTCOME"]);
        for e in entries {
            let (seq, at, e) = (e.seq.to_string(), e.entry.at.to_string(), e.entry);
            table.add_row([seq, at, e.actor, e.peer, e.action, e.object, e.outcome]);
        }
        print!("{}", finish(table));
        Ok(())
    }

    async fn verify_audit(&self, noted: Option<&str>) -> Result<ExitCode, Failure> {
        let keyring = self.directory.keyring();
        let chain = self.database.verify_audit(&keyring).await.map_err(cannot("read the audit log"))?;
        if let Some(seq) = chain.broken_at {
            println!("broken: entry {seq} does not follow from the one before it");
            return Ok(ExitCode::FAILURE);
        }
        if let Some(why) = broken_end(chain.end) {
            println!("broken: {why}");
            return Ok(ExitCode::FAILURE);
        }
        let (seq, hash) = chain.head.unwrap_or_default();
        if let Some(noted) = noted
            && !self.database.has_audit(noted).await.map_err(cannot("read the audit log"))?
        {
            println!("broken: no entry has the hash {noted}; the newest are gone, or the log is another");
            return Ok(ExitCode::FAILURE);
        }
        println!("sound: {} entries, head {seq} {hash}", chain.entries);
        Ok(ExitCode::SUCCESS)
    }

    async fn rotate_keys(&self) -> Result<(), Failure> {
        let path = key_file(&self.settings);
        let keyring = Keyring::rotate(&path).map_err(cannot("rotate the keys"))?;
        let tokens =
            self.database.close_tokens_anew(&keyring).await.map_err(cannot("encrypt the agent tokens anew"))?;
        self.note("key rotate", "-").await;
        println!("a new key is in front of {}; {tokens} agent tokens are encrypted with it", path.display());
        Ok(())
    }

    /// What is done here is done by whoever may read the database.
    async fn note(&self, action: &str, object: &str) {
        let note = Note { actor: "zlh gateway".into(), peer: None, action: action.into(), object: object.into() };
        self.doorkeeper.note(note, 200).await;
    }
}

/// What is wrong with the log's newest entries.
fn broken_end(end: End) -> Option<String> {
    match end {
        End::Sound => None,
        End::CutOff(seq) => Some(format!("entry {seq} was the newest and is gone, and maybe others before it")),
        End::Unsealed => {
            Some("its end is not sealed: the seal was removed, or nothing was noted since an upgrade".into())
        }
        End::Forged => Some("the seal on its end was not made by this gateway".into()),
        End::KeyGone => Some("the key that sealed its end is gone: nobody can tell whether newest entries are".into()),
    }
}

fn wish(name: String, scopes: &[String], audience: &str, expires: Option<&str>) -> Result<TokenWish, Failure> {
    let scope = |word: &String| Scope::named(word).ok_or_else(|| Failure(format!("there is no scope {word}")));
    let audience = Audience::named(audience).ok_or_else(|| Failure(format!("there is no audience {audience}")))?;
    let life = expires.map(humantime::parse_duration).transpose().map_err(cannot("read --expires"))?;
    let end = |life: std::time::Duration| {
        WallTime(clock::wall_time().0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX)))
    };
    Ok(TokenWish {
        name,
        scopes: scopes.iter().map(scope).collect::<Result<_, _>>()?,
        audience,
        expires_at: life.map(end),
    })
}

/// A password, and whether the person knows it yet.
pub struct Password {
    pub text: String,
    made: bool,
}

impl Password {
    fn tell(&self) {
        if self.made {
            println!("password: {}", self.text);
        }
    }
}

fn chosen_password(from_stdin: bool) -> Result<Password, Failure> {
    if !from_stdin {
        return Ok(Password { text: keyring::secret_text().map_err(cannot("make a password"))?, made: true });
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(cannot("read the password"))?;
    let text = line.trim_end_matches(['\n', '\r']).to_owned();
    Ok(Password { text, made: false })
}

/// Why a person stays as they are, for whoever sits at the terminal.
pub fn refused(name: &str) -> impl FnOnce(PeopleRefused) -> Failure {
    move |refused| {
        Failure(match refused {
            PeopleRefused::Name(why) => format!("{name:?} cannot be a user name: {why}"),
            PeopleRefused::Password(why) => format!("the password cannot be used: {why}"),
            PeopleRefused::Exists => format!("there is a user {name} already"),
            PeopleRefused::Absent => no_such_user(name),
            PeopleRefused::OwnsServers => format!("{name} owns servers: give them to somebody else first"),
            PeopleRefused::Unavailable(error) => format!("cannot change {name}: {error}"),
        })
    }
}

fn no_such_user(name: &str) -> String {
    format!("there is no user {name}; `zlh gateway user list` lists all")
}
