#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "chronos/os/file.h"

namespace chronos::test {

/// An HTTP server on a loopback port that answers what the test says, one connection after the
/// other and one request a connection. What arrived can be looked at afterwards.
class HttpServer {
public:
    struct Request {
        std::string method;
        std::string target;                          ///< path and query as sent
        std::map<std::string, std::string> headers;  ///< names in lower case
        std::string body;
    };
    struct Answer {
        int status = 200;
        std::vector<std::pair<std::string, std::string>> headers = {};
        std::string body = {};
        /// Closes the connection after so many bytes of the body, which promised all of them.
        std::optional<std::size_t> cut_after = std::nullopt;
        bool drop = false;  ///< closes the connection without an answer
    };
    using Handler = std::function<Answer(const Request&)>;

    explicit HttpServer(Handler handler);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    std::string url() const { return "http://" + authority(); }
    std::string authority() const { return "127.0.0.1:" + std::to_string(port_); }
    std::vector<Request> requests() const;

private:
    void serve();
    void serve_one(int fd);

    Handler handler_;
    os::FileDescriptor listener_;
    unsigned port_ = 0;
    mutable std::mutex mutex_;
    std::vector<Request> requests_;
    std::thread thread_;
};

}  // namespace chronos::test
