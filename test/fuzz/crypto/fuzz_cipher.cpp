// Any bytes as something encrypted: an error or a content, and the same one however the bytes are
// cut into writes. Any content comes back from what is made of it.
#include <optional>

#include "chronos/crypto/cipher.h"
#include "fuzz.h"

namespace {

using namespace chronos;
using crypto::CipherForm;

constexpr const char* kPass = "pass";

std::optional<std::string> decrypt(CipherForm form, io::Bytes bytes, std::size_t chunk) {
    io::MemorySink sink;
    const auto stage = crypto::make_decryptor(kPass, form, sink);
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(chunk, bytes.size())))
        if (!stage->write(bytes.first(std::min(chunk, bytes.size())))) return std::nullopt;
    const bool good = static_cast<bool>(stage->finish());
    require(good == sink.finished());
    return good ? std::optional(std::move(sink.content)) : std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const CipherForm form = (input.byte() & 1) != 0 ? CipherForm::raw : CipherForm::normal;
    const std::size_t chunk = input.byte() + std::size_t{1};
    require(decrypt(form, input.bytes(), SIZE_MAX) == decrypt(form, input.bytes(), chunk));
    io::MemorySink stored;
    const auto encryptor = crypto::make_encryptor(kPass, form, stored);
    require(encryptor->write(input.bytes()) && encryptor->finish());
    require(decrypt(form, io::bytes(stored.content), chunk) == input.rest());
    return 0;
}
