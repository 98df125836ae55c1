//! How a policy names the methods of a service.

/// The section of the methods of server reflection. Its versions have one section, because they
/// answer the same.
const REFLECTION: &str = "grpc.reflection";

/// A method of the service, as a policy has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyMethod {
    /// Its path, such as `/bookstore.v1.BookService/BatchGetBooks`.
    pub path: &'static str,
    /// The path of the method that does for one entry what this one does for many, such as
    /// `/bookstore.v1.BookService/GetBook`. A caller needs the lines of both.
    pub entries: Option<&'static str>,
}

impl PolicyMethod {
    /// A method without entries.
    #[must_use]
    pub const fn at(path: &'static str) -> Self {
        Self { path, entries: None }
    }
}

/// A method as a policy names it: `GetBook` in the section `[methods.BookService]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodName {
    /// The service's name without its package; `grpc.reflection` for server reflection.
    pub service: String,
    /// The method's name.
    pub method: String,
}

impl MethodName {
    /// The name of the method at a path such as `/bookstore.v1.BookService/GetBook`; none if the
    /// path has another form.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let is_reflection =
            service.strip_prefix(REFLECTION).is_some_and(|rest| rest.starts_with('.'));
        let service = match is_reflection {
            true => REFLECTION,
            false => service.rsplit('.').next().unwrap_or(service),
        };
        Some(Self { service: service.to_owned(), method: method.to_owned() })
    }
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.service, self.method)
    }
}
