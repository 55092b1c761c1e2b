/// What a plugin asks to be allowed. A request: nothing is allowed until the operator grants it.
package struct Permissions: Sendable, Hashable {
    /// Absolute paths, `~/…`, or `config:KEY` for the paths in that setting.
    package var readPaths: [String] = []
    package var writePaths: [String] = []
    /// `host:port`; `*` stands for any host or any port, `*.example.org` for the names below one.
    package var connect: [String] = []
    /// TCP ports; 0 is any free one.
    package var listen: [Int] = []
    package var environment: [String] = []
    /// `service` or `service.method`.
    package var services: [String] = []
    /// Methods of the service `host` that change something.
    package var hostMethods: [String] = []
    /// May say for whom a call is made.
    package var assertsPrincipal = false
    /// May see the calls of others.
    package var observes = false
    /// May change or refuse the calls of others.
    package var intercepts = false

    package init() {}
}
