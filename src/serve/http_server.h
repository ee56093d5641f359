#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "chronos/base/result.h"

/// HTTP over a socket, without any knowledge of what is served. cpp-httplib, which parses requests
/// and writes answers, and TLS end in this folder.
namespace chronos::serve {

/// A request that was read whole. Bodies are not read: nothing here takes one.
struct HttpRequest {
    std::string method;
    std::string path;  ///< decoded, without query
    std::string host;
    std::string accept;
    std::string authorization;
};

struct HttpResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
    std::map<std::string, std::string> headers;
};

/// Called from several threads at a time.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct HttpOptions {
    std::string host = "localhost";  ///< "": every address
    std::string port = "8080";       ///< "0" for any that is free
    std::string tls_cert_file;       ///< "": no TLS
    std::string tls_key_file;
    std::size_t threads = 8;
    /// Connections accepted that wait for a thread; more wait in the kernel, then are refused.
    std::size_t queue_max = 64;
    /// From the first byte of a request to its end, and for the whole answer.
    std::chrono::milliseconds request_timeout{5000};
    /// How long a connection may stay open between requests.
    std::chrono::milliseconds idle_timeout{5000};
    std::size_t request_size_max = std::size_t{16} * 1024;
    std::size_t requests_per_connection = 100;
};

/// "host:port", "[address]:port", ":port" or "port". Kind option_invalid_value.
Result<std::pair<std::string, std::string>> parse_listen_address(const std::string& text);

/// Whether only processes of this machine can reach it: localhost, 127.0.0.0/8, ::1.
bool is_local_address(const std::string& host);

/// A fixed number of threads and a bounded queue: whoever comes beyond both waits, and a client
/// that is slow to send or to read loses its connection. Memory is bounded by the options.
class HttpServer {
public:
    /// Binds and begins to serve. Kinds host_connect (the address cannot be bound), crypto (TLS
    /// files), file_open.
    static Result<std::unique_ptr<HttpServer>> start(HttpOptions options, HttpHandler handler);
    /// Ends what is under way.
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    unsigned port() const { return port_; }

private:
    struct State;
    HttpServer(std::unique_ptr<State> state, unsigned port);
    std::unique_ptr<State> state_;
    unsigned port_;
};

}  // namespace chronos::serve
