// Keys for S3 as a metadata service, a command or a file of the machine tell them: found or
// refused, and no message has what may be a key.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chronos/os/file.h"
#include "chronos/storage/s3/s3_storage.h"
#include "fuzz.h"
#include "storage/s3/credentials.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos;
    using namespace chronos::storage;
    const std::string text(reinterpret_cast<const char*>(data), size);
    if (const auto keys = s3::parse_json_keys(text, "it"))
        require(!keys->credentials.access_key.empty() && !keys->credentials.secret_key.empty());

    const os::FileDescriptor file(memfd_create("credentials", MFD_CLOEXEC));
    require(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    S3Options options;
    options.environment = [&](const std::string& name) -> std::optional<std::string> {
        if (name == "AWS_SHARED_CREDENTIALS_FILE")
            return "/proc/self/fd/" + std::to_string(file.get());
        return std::nullopt;
    };
    const auto source = s3::make_credential_source(options);
    require(static_cast<bool>(source));
    const auto keys = (*source)->get();
    if (keys) require(!keys->access_key.empty() && !keys->secret_key.empty());
    return 0;
}
