import KnapJSON
import Synchronization

/// The routes of all active plugins at one moment, built whole from the registry's snapshot.
package struct RouteTable: Sendable {
    /// The most specific first.
    package private(set) var routes: [Route] = []
    package private(set) var problems: [Problem] = []

    /// Of one plugin: each route is compared with all others.
    static let maximumRoutes = 256

    package init() {}

    /// Of two that want the same requests, Knap's own or else the first in the registry's order has them: a plugin
    /// takes nothing from another by being more specific.
    package init(_ offers: [Offer]) {
        for offer in offers.filter(\.isFirstParty) + offers.filter({ !$0.isFirstParty }) { add(offer) }
        routes.sort { ($0.template, $0.verb.rawValue) < ($1.template, $1.verb.rawValue) }
    }

    private mutating func add(_ offer: Offer) {
        do throws(Unservable) {
            let route = try Route(offer)
            guard routes.count(where: { $0.plugin == route.plugin }) < Self.maximumRoutes else {
                throw Unservable("a plugin has at most \(Self.maximumRoutes) routes")
            }
            for other in routes where other.verb == route.verb { try route.checkIsApart(from: other) }
            routes.append(route)
            for warning in Self.warnings(route, offer) { report(.warning, offer, warning) }
        } catch {
            report(.error, offer, "Left out: \(error.reason).")
        }
    }

    private static func warnings(_ route: Route, _ offer: Offer) -> [String] {
        var warnings: [String] = []
        // RFC 9110, section 9.2.1; who does not say so in the manifest has a method that may change something.
        if route.verb == .get, offer.method?["mutating"] != false {
            warnings.append(
                "GET must not change anything, and its method may: say \"mutating\": false, or use another verb.")
        }
        for (schema, what) in [(route.input, "input"), (route.output, "output")] {
            guard let schema else { continue }
            do throws(Unservable) {
                _ = try RebasedSchema(schema, at: "", "\(what) schema")
            } catch {
                warnings.append("/openapi.json is without its \(what) schema: \(error.reason).")
            }
        }
        return warnings
    }

    private mutating func report(_ severity: Problem.Severity, _ offer: Offer, _ reason: String) {
        let words = ["verb", "path"].compactMap { offer.item[$0]?.stringValue }
        problems.append(
            Problem(
                severity: severity, plugin: offer.plugin, item: (["route"] + words).joined(separator: " "),
                reason: reason))
    }

    /// The routes of an address, whatever their verb, with what their variables stand for there.
    package func match(_ path: PathSegments) -> [RouteMatch] {
        routes.compactMap { route in
            route.template.match(path).map { RouteMatch(route: route, variables: $0) }
        }
    }
}

package struct RouteMatch: Sendable {
    package var route: Route
    package var variables: [(name: String, value: String)]
}

extension Route {
    fileprivate func checkIsApart(from other: Route) throws(Unservable) {
        if template.shape == other.template.shape, plugin == other.plugin {
            throw Unservable("the same plugin has \(other.name) already")
        }
        guard plugin != other.plugin, template.overlaps(other.template) else { return }
        throw Unservable("its requests are those of \(other.name) of \(other.plugin)")
    }
}

/// The routes that are served now.
package final class LiveRoutes: Sendable {
    private let table = Mutex(RouteTable())

    package init() {}

    package var current: RouteTable { table.withLock { $0 } }

    /// Swaps in what the registry now offers.
    package func publish(_ offers: [Offer]) {
        let new = RouteTable(offers)
        table.withLock { $0 = new }
    }
}
