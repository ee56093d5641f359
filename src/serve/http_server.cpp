#include "serve/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <httplib.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "serve/tls.h"

namespace chronos::serve {
namespace {

using std::chrono::milliseconds;

/// What a client gets for its next bytes while others wait for a thread.
constexpr milliseconds kPatience{400};
constexpr std::string_view kHeadEnd = "\r\n\r\n";

/// Everything else that a client may say changes nothing here, and would cost something: ranges
/// (std::regex over what a stranger wrote), compression of answers, and what future releases of
/// httplib may think of.
constexpr std::array<std::string_view, 6> kHeaders = {
    "host", "accept", "authorization", "connection", "content-length", "transfer-encoding"};

std::string header_name(std::string_view line) {
    return to_lower(line.substr(0, std::min(line.find(':'), line.size())));
}

bool is_wanted_header(std::string_view line) {
    return std::ranges::find(kHeaders, header_name(line)) != kHeaders.end();
}

/// Whether all who read this head on its way read the same: nothing that one takes for a header
/// and another does not, and nothing twice of what says where a request ends and for whom it is.
bool is_unambiguous(std::string_view head) {
    std::set<std::string> seen;
    if (head.find('\0') != std::string_view::npos) return false;
    const auto lines = head.substr(std::min(head.find("\r\n"), head.size()));
    for (std::string_view line : split(lines, '\n')) {
        line = line.substr(0, line.find_last_not_of('\r') + 1);
        if (line.empty()) continue;
        const std::string name = header_name(line);
        if (name.size() == line.size() || name.find_first_of(" \t") != std::string::npos)
            return false;
        const bool once = name == "host" || name == "content-length";
        if (once && !seen.insert(name).second) return false;
    }
    return true;
}

/// The request line and the headers that count.
std::string filter_head(std::string_view head) {
    std::string filtered;
    bool first = true;
    while (!head.empty()) {
        const std::size_t end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(std::min(head.size(), line.size() + 2));
        if (first || is_wanted_header(line)) filtered.append(line).append("\r\n");
        first = false;
    }
    return filtered + "\r\n";
}

enum class HeadOutcome { whole, closed, too_slow, too_large, ambiguous };

/// What httplib reads one request from and writes one answer to. The head of a request is read
/// here, whole, before httplib sees any of it: httplib bounds neither the number of headers nor
/// the time that they take to arrive. There is nothing behind the head, since no body is taken.
class BoundedStream final : public httplib::Stream {
public:
    /// `somebody_waits` tells whether a connection has no thread: a client that does not get on
    /// with its request has less time then.
    BoundedStream(Wire& wire, int socket, const HttpOptions& options,
                  std::function<bool()> somebody_waits)
        : wire_(wire),
          socket_(socket),
          options_(options),
          somebody_waits_(std::move(somebody_waits)) {}

    HeadOutcome read_head(milliseconds wait_for_first) {
        if (received_.empty() && !fill(wait_for_first)) return HeadOutcome::closed;
        const Deadline deadline(options_.request_timeout);
        const Deadline patience(kPatience);
        for (;;) {
            const std::size_t end = received_.find(kHeadEnd);
            if (end != std::string::npos) {
                if (!is_unambiguous(std::string_view(received_).substr(0, end)))
                    return HeadOutcome::ambiguous;
                head_ = filter_head(std::string_view(received_).substr(0, end));
                received_.erase(0, end + kHeadEnd.size());
                read_at_ = 0;
                deadline_ = Deadline(options_.request_timeout);
                return HeadOutcome::whole;
            }
            if (received_.size() >= options_.request_size_max) return HeadOutcome::too_large;
            // One byte at a time is no way to keep a thread from others either.
            if (patience.passed() && somebody_waits_()) return HeadOutcome::too_slow;
            if (!fill(deadline.remaining())) return HeadOutcome::too_slow;
        }
    }
    /// For a request that httplib never gets to see.
    void refuse(std::string_view status) {
        const std::string answer = "HTTP/1.1 " + std::string(status) +
                                   "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        wire_.write(answer.data(), answer.size(), Deadline(milliseconds(1000)));
    }

    bool is_readable() const override { return true; }
    // httplib 0.18 wants the first of these, and 0.41 the others.
    // NOLINTNEXTLINE(modernize-use-override,clang-diagnostic-inconsistent-missing-override)
    bool is_writable() const { return true; }
    bool wait_readable() const { return true; }
    bool wait_writable() const { return true; }
    time_t duration() const { return 0; }
    ssize_t read(char* to, std::size_t size) override {
        const std::size_t count = std::min(size, head_.size() - read_at_);
        std::copy_n(head_.data() + read_at_, count, to);
        read_at_ += count;
        return static_cast<ssize_t>(count);
    }
    ssize_t write(const char* from, std::size_t size) override {
        return wire_.write(from, size, deadline_);
    }
    void get_remote_ip_and_port(std::string& ip, int& port) const override {
        ip.clear();  // nothing depends on who asks
        port = 0;
    }
    void get_local_ip_and_port(std::string& ip, int& port) const override {
        ip.clear();
        port = 0;
    }
    socket_t socket() const override { return socket_; }

private:
    bool fill(milliseconds limit) {
        std::array<char, 4096> chunk;
        const Deadline patience(std::min(limit, kPatience));
        ssize_t count = wire_.read(chunk.data(), chunk.size(), patience);
        if (count < 0 && patience.passed() && limit > kPatience && !somebody_waits_())
            count = wire_.read(chunk.data(), chunk.size(), Deadline(limit - kPatience));
        if (count > 0) received_.append(chunk.data(), static_cast<std::size_t>(count));
        return count > 0;
    }

    Wire& wire_;
    int socket_;
    const HttpOptions& options_;
    std::function<bool()> somebody_waits_;
    Deadline deadline_{milliseconds(0)};
    std::string received_;  ///< not yet part of a head
    std::string head_;
    std::size_t read_at_ = 0;
};

/// httplib's server without its sockets: one request from a stream, one answer to it.
class RequestProcessor final : public httplib::Server {
public:
    explicit RequestProcessor(HttpHandler handler) : handler_(std::move(handler)) {
        // Before a body would be read, and for every method and path there is.
        set_pre_routing_handler(
            [this](const httplib::Request& request, httplib::Response& response) {
                answer(request, response);
                return HandlerResponse::Handled;
            });
        // Called for every answer of 400 and above; those made here are complete.
        set_error_handler([](const httplib::Request&, httplib::Response& response) {
            if (!response.body.empty()) return;
            response.set_content(std::to_string(response.status) + "\n",
                                 "text/plain; charset=utf-8");
            add_security_headers(response);
        });
        set_keep_alive_max_count(100);
        set_exception_handler([](const httplib::Request&, httplib::Response& response,
                                 // NOLINTNEXTLINE(performance-unnecessary-value-param): as declared
                                 std::exception_ptr) { response.status = 500; });
    }

    /// False if the connection is of no use any more.
    bool process(BoundedStream& stream, bool last) {
        bool closed = false;
        bool has_body = false;
        const bool served =
            process_one(*this, stream, last, closed,
                        [&](httplib::Request& request) { has_body = carries_body(request); });
        // An unread body would be taken for the next request.
        return served && !closed && !has_body;
    }

private:
    /// Newer releases of httplib want to be told the addresses of both ends, which nothing here
    /// depends on.
    template <class Self>
    static bool process_one(Self& self, httplib::Stream& stream, bool last, bool& closed,
                            const std::function<void(httplib::Request&)>& look) {
        if constexpr (requires { self.process_request(stream, last, closed, look); })
            return self.process_request(stream, last, closed, look);
        else
            return self.process_request(stream, {}, 0, {}, 0, last, closed, look);
    }

    static bool carries_body(const httplib::Request& request) {
        return request.has_header("Transfer-Encoding") ||
               (request.has_header("Content-Length") &&
                request.get_header_value("Content-Length") != "0");
    }

    static void add_security_headers(httplib::Response& response) {
        response.set_header("X-Content-Type-Options", "nosniff");
        response.set_header("X-Frame-Options", "DENY");
        response.set_header("Referrer-Policy", "no-referrer");
        response.set_header("Cache-Control", "no-store");
        if (!response.has_header("Content-Security-Policy"))
            response.set_header("Content-Security-Policy",
                                "default-src 'none'; frame-ancestors 'none'");
    }

    void answer(const httplib::Request& request, httplib::Response& response) const {
        const HttpResponse made = make(request);
        response.status = made.status;
        for (const auto& [name, value] : made.headers) response.set_header(name, value);
        response.set_content(made.body, made.content_type);
        add_security_headers(response);
        if (carries_body(request)) response.set_header("Connection", "close");
    }

    HttpResponse make(const httplib::Request& request) const {
        constexpr const char* kText = "text/plain; charset=utf-8";
        if (request.method != "GET" && request.method != "HEAD")
            return {405, kText, "only GET and HEAD\n", {{"Allow", "GET, HEAD"}}};
        if (carries_body(request)) return {413, kText, "no body is taken\n", {}};
        return handler_({request.method, request.path, request.get_header_value("Host"),
                         request.get_header_value("Accept"),
                         request.get_header_value("Authorization")});
    }

    HttpHandler handler_;
};

struct FreeAddresses {
    void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};

Result<os::FileDescriptor> bind_to(const addrinfo& address) {
    os::FileDescriptor socket(::socket(address.ai_family,
                                       address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                       address.ai_protocol));
    if (!socket.valid()) return system_error(ErrorKind::host_connect, "make a socket", errno);
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ai_family == AF_INET6)
        setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(socket.get(), address.ai_addr, address.ai_addrlen) != 0 ||
        listen(socket.get(), 128) != 0)
        return system_error(ErrorKind::host_connect, "bind", errno);
    return socket;
}

/// Every address that the name has: localhost is often two.
Result<std::vector<os::FileDescriptor>> bind_all(const HttpOptions& options) {
    addrinfo hints = {};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    const char* host = options.host.empty() ? nullptr : options.host.c_str();
    const std::string place = options.host + ":" + options.port;
    if (const int code = getaddrinfo(host, options.port.c_str(), &hints, &found); code != 0)
        return Error(ErrorKind::host_connect, "listen on '" + place + "': " + gai_strerror(code));
    const std::unique_ptr<addrinfo, FreeAddresses> list(found);
    std::vector<os::FileDescriptor> sockets;
    std::optional<Error> failure;
    for (const addrinfo* address = list.get(); address != nullptr; address = address->ai_next) {
        auto socket = bind_to(*address);
        if (socket)
            sockets.push_back(std::move(socket).value());
        else if (!failure)
            failure = std::move(socket).error();
        // Any free port is one of the first address.
        if (options.port == "0" && !sockets.empty()) break;
    }
    if (sockets.empty())
        return std::move(*failure)
            .while_doing("listen on '" + place + "'")
            .with_hint("Is another process serving there? Choose another port with http-listen.");
    return sockets;
}

unsigned port_of(int socket) {
    sockaddr_storage address = {};
    socklen_t size = sizeof address;
    if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    std::array<char, NI_MAXSERV> port;
    if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, nullptr, 0, port.data(),
                    port.size(), NI_NUMERICSERV) != 0)
        return 0;
    return static_cast<unsigned>(parse_uint(port.data()).value_or(0));
}

}  // namespace

struct HttpServer::State {
    State(HttpOptions given, HttpHandler handler)
        : options(std::move(given)), processor(std::move(handler)) {}

    void accept_connections();
    void accept_one(int listener);
    void work();
    void serve(const os::FileDescriptor& socket);
    void converse(BoundedStream& stream);
    bool somebody_waits();
    void stop();

    HttpOptions options;
    RequestProcessor processor;
    std::unique_ptr<TlsContext> tls;
    std::vector<os::FileDescriptor> listeners;
    os::FileDescriptor stop_event;
    std::atomic<bool> stopping{false};

    std::mutex mutex;
    std::condition_variable came;   ///< a connection, or the end
    std::condition_variable taken;  ///< room in the queue
    std::deque<os::FileDescriptor> queue;
    std::set<int> open;  ///< sockets that are being served
    std::vector<std::thread> threads;
};

void HttpServer::State::accept_connections() {
    std::vector<pollfd> waiting;
    waiting.push_back({stop_event.get(), POLLIN, 0});
    for (const auto& listener : listeners) waiting.push_back({listener.get(), POLLIN, 0});
    while (!stopping) {
        if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
        for (std::size_t i = 1; i < waiting.size(); ++i)
            if ((waiting[i].revents & POLLIN) != 0) accept_one(waiting[i].fd);
    }
}

void HttpServer::State::accept_one(int listener) {
    os::FileDescriptor socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
        // Out of descriptors: whoever comes waits in the kernel.
        if (errno == EMFILE || errno == ENFILE) std::this_thread::sleep_for(milliseconds(50));
        return;
    }
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::unique_lock lock(mutex);
    taken.wait(lock, [&] { return queue.size() < options.queue_max || stopping; });
    if (stopping) return;
    queue.push_back(std::move(socket));
    came.notify_one();
}

void HttpServer::State::work() {
    for (;;) {
        os::FileDescriptor socket;
        {
            std::unique_lock lock(mutex);
            came.wait(lock, [&] { return !queue.empty() || stopping; });
            if (stopping) return;
            socket = std::move(queue.front());
            queue.pop_front();
            open.insert(socket.get());
            taken.notify_one();
        }
        try {
            serve(socket);
        } catch (const std::exception& exception) {
            log_warn(std::string("a request could not be served: ") + exception.what());
        }
        const std::lock_guard lock(mutex);
        open.erase(socket.get());
    }
}

void HttpServer::State::serve(const os::FileDescriptor& socket) {
    const auto wire = tls ? tls->accept(socket.get(), Deadline(options.request_timeout))
                          : make_plain_wire(socket.get());
    if (!wire) return;
    BoundedStream stream(*wire, socket.get(), options, [this] { return somebody_waits(); });
    converse(stream);
    // What the client sent and nobody read would turn the end of the connection into a reset, which
    // can take the answer with it.
    shutdown(socket.get(), SHUT_WR);
    std::array<char, 4096> rest;
    const Deadline linger(milliseconds(200));
    for (int i = 0; i < 16 && !stopping; ++i)
        if (make_plain_wire(socket.get())->read(rest.data(), rest.size(), linger) <= 0) return;
}

void HttpServer::State::converse(BoundedStream& stream) {
    for (std::size_t count = 1; !stopping; ++count) {
        switch (stream.read_head(count == 1 ? options.request_timeout : options.idle_timeout)) {
            case HeadOutcome::closed: return;
            case HeadOutcome::too_slow: return stream.refuse("408 Request Timeout");
            case HeadOutcome::too_large:
                return stream.refuse("431 Request Header Fields Too Large");
            case HeadOutcome::ambiguous: return stream.refuse("400 Bad Request");
            case HeadOutcome::whole: break;
        }
        // Whoever waits for a thread is served before somebody who may ask once more.
        const bool last = count >= options.requests_per_connection || somebody_waits();
        if (!processor.process(stream, last) || last) return;
    }
}

bool HttpServer::State::somebody_waits() {
    const std::lock_guard lock(mutex);
    return !queue.empty();
}

void HttpServer::State::stop() {
    {
        const std::lock_guard lock(mutex);
        stopping = true;
        for (const int socket : open) shutdown(socket, SHUT_RDWR);
    }
    came.notify_all();
    taken.notify_all();
    const std::uint64_t one = 1;
    if (write(stop_event.get(), &one, sizeof one) < 0) log_warn("the HTTP server does not stop");
    for (std::thread& thread : threads) thread.join();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, HttpHandler handler) {
    auto state = std::make_unique<State>(std::move(options), std::move(handler));
    const HttpOptions& wanted = state->options;
    if (!wanted.tls_cert_file.empty())
        state->tls = CHRONOS_TRY(TlsContext::load(wanted.tls_cert_file, wanted.tls_key_file));
    state->listeners = CHRONOS_TRY(bind_all(wanted));
    state->stop_event = os::FileDescriptor(eventfd(0, EFD_CLOEXEC));
    if (!state->stop_event.valid()) return system_error(ErrorKind::kernel, "make an event", errno);
    const unsigned port = port_of(state->listeners.front().get());
    State* shared = state.get();
    std::unique_ptr<HttpServer> server(new HttpServer(std::move(state), port));
    for (std::size_t i = 0; i < wanted.threads; ++i)
        shared->threads.emplace_back([shared] { shared->work(); });
    shared->threads.emplace_back([shared] { shared->accept_connections(); });
    return server;
}

HttpServer::HttpServer(std::unique_ptr<State> state, unsigned port)
    : state_(std::move(state)), port_(port) {}

HttpServer::~HttpServer() {
    state_->stop();
}

Result<std::pair<std::string, std::string>> parse_listen_address(const std::string& text) {
    std::string host, port = text;
    if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        if (host.size() > 2 && host.front() == '[' && host.back() == ']')
            host = host.substr(1, host.size() - 2);
        else if (host.find(':') != std::string::npos)
            port.clear();  // an IPv6 address without brackets: no telling where its port begins
    }
    const auto number = parse_uint(port);
    if (!number || *number > 65535)
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(text) + "' is not valid for 'http-listen' option")
            .with_hint("Write \"localhost:8080\", \"[::1]:8080\" or \":8080\" for every address.");
    if (host == "*") host.clear();
    return std::pair(host, std::to_string(*number));
}

bool is_local_address(const std::string& host) {
    if (host == "localhost" || host == "::1") return true;
    in_addr address = {};
    return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

}  // namespace chronos::serve
