#include "chronos/repo/repository.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/passphrase.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/side_files.h"
#include "chronos/storage/parallel.h"

namespace chronos::repo {
namespace {

/// "20261120-075745F": date and time, then one of `types`.
bool is_label_part(std::string_view text, std::string_view types) {
    return text.size() == 16 && text[8] == '-' && types.find(text[15]) != std::string_view::npos &&
           std::all_of(text.begin(), text.begin() + 8, is_digit) &&
           std::all_of(text.begin() + 9, text.begin() + 15, is_digit);
}

constexpr std::string_view kCipherMagic = "Salted__";
constexpr std::size_t kCipherBlock = 16;

std::string option_name(const Repository& repository, std::string_view option) {
    return "repo" + std::to_string(repository.key) + "-" + std::string(option);
}

Error missing_passphrase(const Repository& repository, const std::string& name) {
    return Error(ErrorKind::crypto, "'" + repository.storage->describe(name) +
                                        "' is encrypted but " +
                                        option_name(repository, "cipher-type") + " is none")
        .with_hint("Set " + option_name(repository, "cipher-type") + "=aes-256-cbc and " +
                   option_name(repository, "cipher-pass") +
                   " to the passphrase that the repository was created with.");
}

Error superfluous_passphrase(const Repository& repository, const std::string& name) {
    return Error(ErrorKind::crypto, "'" + repository.storage->describe(name) +
                                        "' is not encrypted but " +
                                        option_name(repository, "cipher-type") + " is " +
                                        std::string(crypto::cipher_type_name(repository.cipher)))
        .with_hint("Remove " + option_name(repository, "cipher-type") + " and " +
                   option_name(repository, "cipher-pass") +
                   " if the repository was created without encryption.");
}

/// Nothing if the text may be read as this repository is configured.
Result<> check_encryption(const Repository& repository, const std::string& name,
                          std::string_view beginning, bool decrypts) {
    const bool salted = beginning.starts_with(kCipherMagic);
    if (!decrypts && salted) return missing_passphrase(repository, name);
    // Text of the format begins with a section: anything else is damage, not plain text.
    if (decrypts && !salted && beginning.starts_with('['))
        return superfluous_passphrase(repository, name);
    return {};
}

/// Passes on what a decryptor gives, and remembers whether it began as text of the format does. The
/// first cipher block depends on the passphrase and on nothing behind it: with the right one it
/// is text whatever happened to the rest.
class BeginningSink final : public io::Sink {
public:
    explicit BeginningSink(io::Sink& next) : next_(next) {}
    Result<> write(io::Bytes in) override {
        const std::size_t missing = kCipherBlock - std::min(kCipherBlock, beginning_.size());
        beginning_ += io::text(in.first(std::min(missing, in.size())));
        return next_.write(in);
    }
    Result<> finish() override { return next_.finish(); }

    bool is_text() const {
        return beginning_.size() == kCipherBlock && begins_as_section(beginning_);
    }

private:
    io::Sink& next_;
    std::string beginning_;
};

Error damaged(const Repository& repository, const std::string& name, const std::string& why) {
    return Error(ErrorKind::format,
                 "'" + repository.storage->describe(name) + "' is damaged: " + why);
}

/// Of an object with cipher header and whole cipher blocks, as far as its size tells.
Error not_decrypted(const Repository& repository, const std::string& name, const std::string& pass,
                    std::uint64_t size, bool salted, const BeginningSink& beginning) {
    if (!salted) return damaged(repository, name, "it does not begin as an encrypted file does");
    if (size < kCipherMagic.size() + 8 + kCipherBlock || size % kCipherBlock != 0)
        return damaged(repository, name,
                       "encrypted data is cut short: " + std::to_string(size) +
                           " bytes are not a header and whole cipher blocks");
    if (beginning.is_text())
        return damaged(repository, name,
                       "the passphrase opens its beginning, but it cannot be decrypted to its end");
    return wrong_passphrase(repository, name, pass);
}

/// A text as it is stored.
struct Encoded {
    std::string_view plain;
    std::optional<std::string> encrypted;
    std::string_view stored() const { return encrypted ? *encrypted : plain; }
};

Result<std::string> decoded(std::string_view stored, const Encoding& encoding) {
    io::MemorySink plain;
    Decoder decoder(encoding, plain);
    CHRONOS_TRY(decoder.write(io::bytes(stored)));
    CHRONOS_TRY(decoder.finish());
    return std::move(plain.content);
}

Result<> prove(const Encoded& encoded, const Encoding& encoding, const ReadBack& read_back) {
    if (encoded.stored().size() > kTextSizeMax)
        return Error(ErrorKind::format, "it has " + std::to_string(encoded.stored().size()) +
                                            " bytes, more than the " +
                                            std::to_string(kTextSizeMax) + " that are read");
    if (!encoded.encrypted) return read_back(encoded.stored());
    const std::string plain = CHRONOS_TRY(decoded(*encoded.encrypted, encoding));
    if (plain != encoded.plain)
        return Error(ErrorKind::crypto, "it does not decrypt to what was encrypted");
    return read_back(plain);
}

Result<Encoded> encode(const Repository& repository, const std::string& name,
                       std::string_view content, const std::string& pass,
                       const ReadBack& read_back) {
    Encoded encoded{content, std::nullopt};
    const Encoding encoding = text_encoding(repository, pass);
    if (encoding.encrypted()) {
        io::MemorySink stored;
        Encoder encoder(encoding, stored);
        CHRONOS_TRY(encoder.write(io::bytes(content)));
        CHRONOS_TRY(encoder.finish());
        encoded.encrypted = std::move(stored.content);
    }
    const Result<> proven = prove(encoded, encoding, read_back);
    if (!proven) return not_published(repository, name, proven.error());
    return encoded;
}

}  // namespace

bool begins_as_section(std::string_view text) {
    constexpr std::size_t kLettersMin = 2;
    if (!text.starts_with('[')) return false;
    std::size_t end = 1;
    while (end < std::min(text.size(), kCipherBlock) &&
           ((text[end] >= 'a' && text[end] <= 'z') || text[end] == ':' || text[end] == '-'))
        ++end;
    const bool ends = end == kCipherBlock || (end < text.size() && text[end] == ']');
    return ends && end > kLettersMin;
}

Error wrong_passphrase(const Repository& repository, const std::string& name,
                       const std::string& pass) {
    const std::string what = "unable to decrypt '" + repository.storage->describe(name) + "': ";
    if (pass != repository.passphrase && pass != repository.previous_passphrase)
        return Error(ErrorKind::crypto, what + "wrong passphrase or damaged content")
            .with_hint(
                "The passphrase for it is kept in backup.info: does the file belong to this "
                "stanza?");
    return Error(ErrorKind::crypto, what + "wrong passphrase")
        .with_hint("Check " + option_name(repository, "cipher-pass") +
                   ": it must be the passphrase that the repository was created with, or was last "
                   "given by rekey.");
}

Result<> read_text_into(const Repository& repository, const std::string& name,
                        const std::string& pass, io::Sink& sink) {
    return read_bounded_text_into(repository, name, pass, sink, kTextSizeMax);
}

Result<> read_bounded_text_into(const Repository& repository, const std::string& name,
                                const std::string& pass, io::Sink& sink, std::uint64_t size_max) {
    const Encoding encoding = text_encoding(repository, pass);
    const bool decrypts = encoding.encrypted();
    const auto source = CHRONOS_TRY(repository.storage->open(name));
    std::vector<std::byte> buffer(io::kBufferSize);
    std::size_t count = CHRONOS_TRY(io::read_full(*source, buffer));
    CHRONOS_TRY(check_encryption(repository, name, io::text({buffer.data(), count}), decrypts));
    const bool salted = io::text({buffer.data(), count}).starts_with(kCipherMagic);
    BeginningSink beginning(sink);
    Decoder decoder(encoding, beginning);
    std::uint64_t size = 0;
    Result<> taken;
    for (; count > 0; count = CHRONOS_TRY(source->read(buffer))) {
        size += count;
        if (size > size_max)
            return Error(ErrorKind::format, "'" + repository.storage->describe(name) +
                                                "' has more than " + std::to_string(size_max) +
                                                " bytes");
        if (taken) taken = decoder.write({buffer.data(), count});
    }
    if (taken) taken = decoder.finish();
    if (taken || !decrypts) return taken;
    return not_decrypted(repository, name, pass, size, salted, beginning);
}

Result<std::string> read_text(const Repository& repository, const std::string& name,
                              const std::string& pass) {
    io::MemorySink text(kTextSizeMax);
    CHRONOS_TRY(read_text_into(repository, name, pass, text));
    return std::move(text.content);
}

Error not_published(const Repository& repository, const std::string& name, const Error& why) {
    // What could not be read back was not damaged on the way: whoever gets it has no other kind to
    // branch on than that of content that is wrong.
    return Error(ErrorKind::format,
                 "'" + repository.storage->describe(name) +
                     "' was not written, because nobody could read it: " + why.message())
        .with_hint("What is stored under this name, if anything, is as it was before.");
}

Result<> write_text(const Repository& repository, const std::string& name, std::string_view content,
                    const std::string& pass, const ReadBack& read_back) {
    CHRONOS_TRY(check_side_file(repository, name));
    const Encoded encoded = CHRONOS_TRY(encode(repository, name, content, pass, read_back));
    return storage::write_object(*repository.storage, name, encoded.stored());
}

Result<> write_text_pair(const Repository& repository, const TextPair& names,
                         std::string_view content, const std::string& pass,
                         const ReadBack& read_back) {
    storage::Storage& storage = *repository.storage;
    const Encoded encoded = CHRONOS_TRY(encode(repository, names.first, content, pass, read_back));
    const auto first = [&] {
        return storage::write_object(storage, names.first, encoded.stored());
    };
    const auto second = [&] {
        return storage::write_object(storage, names.second, encoded.stored());
    };
    if (names.at_once) return storage::at_once(storage, {first, second});
    CHRONOS_TRY(first());
    return second();
}

std::string archive_info_name(const std::string& stanza) {
    return archive_path(stanza) + "/archive.info";
}
std::string backup_info_name(const std::string& stanza) {
    return backup_path(stanza) + "/backup.info";
}
std::string archive_path(const std::string& stanza) {
    return "archive/" + stanza;
}
std::string backup_path(const std::string& stanza) {
    return "backup/" + stanza;
}
std::string backup_path(const std::string& stanza, std::string_view label) {
    return ("backup/" + stanza + "/").append(label);
}
std::string manifest_name(const std::string& stanza, std::string_view label) {
    return backup_path(stanza, label) + "/backup.manifest";
}

bool is_backup_label(std::string_view text) {
    if (!is_label_part(text.substr(0, 16), "F")) return false;
    return text.size() == 16 ||
           (text.size() == 33 && text[16] == '_' && is_label_part(text.substr(17), "DI"));
}

bool is_pg_version(std::string_view text) {
    const std::vector<std::string_view> parts = split(text, '.');
    return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
        return part.empty() || !std::all_of(part.begin(), part.end(), is_digit);
    });
}

bool is_archive_id(std::string_view text) {
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return false;
    const std::string_view id = text.substr(dash + 1);
    return is_pg_version(text.substr(0, dash)) && !id.empty() &&
           std::all_of(id.begin(), id.end(), is_digit);
}

}  // namespace chronos::repo
