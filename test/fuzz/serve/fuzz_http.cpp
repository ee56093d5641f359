// What may come to the port of `serve`, from anybody: each connection gets answers and comes to its
// end, and what the service is asked for is what it allows.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "chronos/os/file.h"
#include "fuzz.h"
#include "serve/http_server.h"

namespace {

using namespace chronos;
using namespace chronos::serve;

HttpResponse answer(const HttpRequest& request) {
    require(request.method == "GET" || request.method == "HEAD");
    return {200, "text/plain", request.path + request.host + request.accept, {}};
}

/// One thread: an input that held it would be seen as a hang of the next one.
HttpServer& server() {
    static const std::unique_ptr<HttpServer> shared = [] {
        HttpOptions options;
        options.host = "127.0.0.1";
        options.port = "0";
        options.threads = 1;
        return std::move(HttpServer::start(options, answer)).value();
    }();
    return *shared;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    if (const auto address = parse_listen_address(text)) is_local_address(address->first);
    const os::FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(server().port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    require(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    // No port of this machine waits for the end of a connection that nobody needs.
    const linger at_once = {1, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    const ssize_t sent = send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(text.size())) shutdown(socket.get(), SHUT_WR);
    std::string received;
    char buffer[4096];
    for (ssize_t count; (count = recv(socket.get(), buffer, sizeof buffer, 0)) > 0;)
        received.append(buffer, static_cast<std::size_t>(count));
    require(received.empty() || received.starts_with("HTTP/1."));
    return 0;
}
