#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "chronos/base/text.h"

namespace chronos::test {
namespace {

bool receive_more(int fd, std::string& data) {
    char buffer[65536];
    const ssize_t count = recv(fd, buffer, sizeof buffer, 0);
    if (count > 0) data.append(buffer, static_cast<std::size_t>(count));
    return count > 0;
}

bool send_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const ssize_t count = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (count <= 0) return false;
        data.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

HttpServer::Request parse_head(std::string_view head) {
    HttpServer::Request request;
    const auto lines = split(head, '\n');
    const auto words = split(trim(lines.front()), ' ');
    request.method = words.at(0);
    request.target = words.at(1);
    for (std::size_t i = 1; i < lines.size(); ++i) {
        const std::size_t colon = lines[i].find(':');
        if (colon == std::string_view::npos) continue;
        std::string name(lines[i].substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        request.headers[name] = trim(lines[i].substr(colon + 1));
    }
    return request;
}

}  // namespace

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = os::FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_.get(), generic, size) != 0 || listen(listener_.get(), 64) != 0 ||
        getsockname(listener_.get(), generic, &size) != 0)
        throw std::runtime_error("no loopback port for a test server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
}

HttpServer::~HttpServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
}

std::vector<HttpServer::Request> HttpServer::requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
}

void HttpServer::serve() {
    for (;;) {
        const os::FileDescriptor connection(accept(listener_.get(), nullptr, nullptr));
        if (!connection.valid()) return;
        serve_one(connection.get());
    }
}

void HttpServer::serve_one(int fd) {
    std::string data;
    std::size_t end = std::string::npos;
    while ((end = data.find("\r\n\r\n")) == std::string::npos)
        if (!receive_more(fd, data)) return;
    Request request = parse_head(std::string_view(data).substr(0, end));
    const std::size_t length = parse_uint(request.headers["content-length"]).value_or(0);
    while (data.size() < end + 4 + length)
        if (!receive_more(fd, data)) return;
    request.body = data.substr(end + 4, length);
    {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
    }
    const Answer answer = handler_(request);
    if (answer.drop) return;
    std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " Answer\r\n";
    bool has_length = false;
    for (const auto& [name, value] : answer.headers) {
        head += name + ": " + value + "\r\n";
        has_length |= name == "content-length";
    }
    if (!has_length) head += "content-length: " + std::to_string(answer.body.size()) + "\r\n";
    head += "connection: close\r\n\r\n";
    const std::string_view body = answer.body;
    if (send_all(fd, head) && request.method != "HEAD")
        send_all(fd, body.substr(0, answer.cut_after.value_or(body.size())));
    shutdown(fd, SHUT_WR);
    while (receive_more(fd, data)) {
    }
}

}  // namespace chronos::test
