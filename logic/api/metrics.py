"""The push API in numbers. Labels are route templates, statuses and problem codes, never a client's text."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from protocol.codes import ErrorCode

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RouteMetrics:
    """The numbers of one route; a status gets its counter when it is first seen."""

    def __init__(self, route: str, requests: Counter, seconds: Histogram, accepted: Counter) -> None:
        self._route = route
        self._requests = requests
        self._by_status: dict[int, Counter] = {}
        self._seconds = seconds.labels(route)
        self._accepted = accepted.labels(route)
        self.count_accepted = self._accepted.inc
        self.observe_seconds = self._seconds.observe

    def count_request(self, status: int) -> None:
        """Count an answered request."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(self._route, str(status))
        counter.inc()


class ApiMetrics:
    """All numbers of the push API, in the registry given.

    logic_api_requests_total{route,status}, logic_api_request_seconds{route} (bulk streams are not in it: they last as
    long as their publisher likes), logic_api_messages_accepted_total{route}, logic_api_problems_total{code} (refused
    bulk lines included), logic_api_bulk_lines_total.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; raise ValueError when the registry has them already."""
        self._requests = Counter("logic_api_requests", "Requests answered", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "logic_api_request_seconds", "Time to answer a request", ["route"], buckets=_SECONDS, registry=registry
        )
        self._accepted = Counter("logic_api_messages_accepted", "Messages accepted", ["route"], registry=registry)
        problems = Counter("logic_api_problems", "Problems answered", ["code"], registry=registry)
        self._problems = {code: problems.labels(code.value) for code in ErrorCode}
        self.bulk_lines = Counter("logic_api_bulk_lines", "Lines of bulk streams", registry=registry)
        self._routes: dict[str, RouteMetrics] = {}

    def route(self, template: str) -> RouteMetrics:
        """Return the numbers of a route, the same object each time."""
        metrics = self._routes.get(template)
        if metrics is None:
            metrics = self._routes[template] = RouteMetrics(template, self._requests, self._seconds, self._accepted)
        return metrics

    def count_problem(self, code: ErrorCode) -> None:
        """Count a request or a bulk line that was refused."""
        self._problems[code].inc()
