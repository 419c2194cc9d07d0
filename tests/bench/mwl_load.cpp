// A fast DICOM client that measures worklist servers: as little work as possible on its own side, all of it counted.
//
// Build: g++ -O2 -std=c++17 -pthread mwl_load.cpp -o mwl_load
// Prints one JSON object: operations a second, p50, p95, p99 and the slowest in milliseconds, and what went wrong.
//
// Modes: find   connect, associate, one C-FIND, release
//        many   C-FINDs on one association a client
//        mpps   connect, associate, N-CREATE, N-SET, release; each for another order
//        echo   C-ECHOs on one association a client
#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

using Bytes = std::string;

struct Options {
    std::string mode = "find", station = "ST03", date, called = "WLSCP", calling = "ST03";
    std::string uid_root = "1.2.826.0.1.3680043.10.1234";
    int port = 11112, clients = 1, operations = 0, expect = 33, warm = 3, first = 1, max_pdu = 65536;
    double seconds = 3;
} options;

static const Bytes WORKLIST = "1.2.840.10008.5.1.4.31", MPPS = "1.2.840.10008.3.1.2.3.3", ECHO = "1.2.840.10008.1.1";
static std::atomic<long> failures{0}, wrong_counts{0}, next_order{0};

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---- bytes ----

static void big16(Bytes& to, unsigned value) { to += char(value >> 8); to += char(value); }
static void big32(Bytes& to, unsigned value) { big16(to, value >> 16); big16(to, value & 0xffff); }
static void little16(Bytes& to, unsigned value) { to += char(value); to += char(value >> 8); }
static void little32(Bytes& to, unsigned value) { little16(to, value & 0xffff); little16(to, value >> 16); }
static unsigned big(const unsigned char* at) { return at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]; }
static unsigned little(const unsigned char* at) { return at[0] | at[1] << 8; }

static Bytes element(unsigned group, unsigned number, Bytes value, char padding = ' ') {  // Implicit VR Little Endian
    if (value.size() & 1) value += padding;
    Bytes made;
    little16(made, group);
    little16(made, number);
    little32(made, value.size());
    return made + value;
}

static Bytes uid(unsigned group, unsigned number, const Bytes& value) { return element(group, number, value, '\0'); }

static Bytes sequence(unsigned group, unsigned number, const Bytes& item) {
    Bytes made;
    little16(made, 0xfffe);
    little16(made, 0xe000);
    little32(made, item.size());
    return element(group, number, made + item);
}

static Bytes number(unsigned group, unsigned element_number, unsigned value) {
    Bytes raw;
    little16(raw, value);
    return element(group, element_number, raw);
}

static Bytes value_pdu(bool is_command, const Bytes& data) {
    Bytes value, made("\x04\0", 2);
    big32(value, data.size() + 2);
    value += char(1);
    value += char(is_command ? 3 : 2);
    value += data;
    big32(made, value.size());
    return made + value;
}

static Bytes request(unsigned field, const Bytes& sop_class, const Bytes& instance, const Bytes* dataset, unsigned id) {
    bool names_requested = field == 0x0120;  // N-SET
    Bytes body = uid(0, names_requested ? 3 : 2, sop_class) + number(0, 0x100, field) + number(0, 0x110, id);
    if (field == 0x20) body += number(0, 0x700, 0);
    body += number(0, 0x800, dataset ? 1 : 0x101);
    if (!instance.empty()) body += uid(0, names_requested ? 0x1001 : 0x1000, instance);
    Bytes length;
    little32(length, body.size());
    Bytes made = value_pdu(true, element(0, 0, length) + body);
    return dataset ? made + value_pdu(false, *dataset) : made;
}

static Bytes item(int kind, const Bytes& body) {
    Bytes made;
    made += char(kind);
    made += '\0';
    big16(made, body.size());
    return made + body;
}

static Bytes associate_request(const Bytes& abstract_syntax) {
    auto title = [](Bytes name) { name.resize(16, ' '); return name; };
    Bytes context("\x01\0\0\0", 4), length, body, made("\x01\0", 2);
    context += item(0x30, abstract_syntax) + item(0x40, "1.2.840.10008.1.2");
    big32(length, options.max_pdu);
    big16(body, 1);
    big16(body, 0);
    body += title(options.called) + title(options.calling) + Bytes(32, '\0') + item(0x10, "1.2.840.10008.3.1.1.1");
    body += item(0x20, context) + item(0x50, item(0x51, length) + item(0x52, "1.2.3.4.5.6") + item(0x55, "MWL_LOAD"));
    big32(made, body.size());
    return made + body;
}

// ---- what is asked and reported ----

static Bytes query() {
    Bytes step = element(0x0008, 0x0060, "") + element(0x0040, 0x0001, options.station) +
                 element(0x0040, 0x0002, options.date) + element(0x0040, 0x0003, "") + element(0x0040, 0x0006, "") +
                 element(0x0040, 0x0007, "") + element(0x0040, 0x0009, "") + element(0x0040, 0x0010, "") +
                 element(0x0040, 0x0011, "");
    Bytes made = element(0x0008, 0x0005, "") + element(0x0008, 0x0050, "") + element(0x0008, 0x0090, "");
    for (unsigned each : {0x0010, 0x0020, 0x0030, 0x0040, 0x1030, 0x2000, 0x2110, 0x21c0}) made += element(0x10, each, "");
    made += element(0x0020, 0x000d, "") + element(0x0032, 0x1032, "") + element(0x0032, 0x1060, "") +
            element(0x0038, 0x0010, "") + sequence(0x0040, 0x0100, step) + element(0x0040, 0x1001, "") +
            element(0x0040, 0x1003, "");
    return made;
}

// The patient of an item, as items.py invents it: whom else a device would name.
static Bytes patient_name(long order) {
    static const char* families[] = {"Кузнецова", "Иванова", "Петров", "Сидоренко", "Абдурахманова", "Ли"};
    static const char* given[] = {"Марина", "Пётр", "Анна", "Олег"};
    long number = order - 1;
    return Bytes(families[number % 6]) + "^" + given[number % 4] + "^Отчество" + std::to_string(number % 97);
}

static Bytes creation(long order) {
    char accession[32], sps[32], procedure[32];
    snprintf(accession, sizeof accession, "A%09ld", order);
    snprintf(sps, sizeof sps, "SPS%ld", order);
    snprintf(procedure, sizeof procedure, "RP%ld", order);
    Bytes step = element(0x0008, 0x0050, accession) + element(0x0008, 0x1110, "") +
                 uid(0x0020, 0x000d, options.uid_root + "." + std::to_string(order)) +
                 element(0x0032, 0x1060, "") + element(0x0040, 0x0007, "") + element(0x0040, 0x0008, "") +
                 element(0x0040, 0x0009, sps) + element(0x0040, 0x1001, procedure);
    return element(0x0008, 0x0005, "ISO_IR 192") + element(0x0008, 0x0060, "DX") + element(0x0008, 0x1032, "") +
           element(0x0008, 0x1120, "") + element(0x0010, 0x0010, patient_name(order)) +
           element(0x0010, 0x0020, "P" + std::to_string(order)) +
           element(0x0010, 0x0030, "19610312") + element(0x0010, 0x0040, "F") + element(0x0020, 0x0010, "") +
           element(0x0040, 0x0241, options.station) + element(0x0040, 0x0242, "") + element(0x0040, 0x0243, "") +
           element(0x0040, 0x0244, options.date) + element(0x0040, 0x0245, "101500") + element(0x0040, 0x0250, "") +
           element(0x0040, 0x0251, "") + element(0x0040, 0x0252, "IN PROGRESS") + element(0x0040, 0x0253, "PPS1") +
           element(0x0040, 0x0254, "") + element(0x0040, 0x0255, "") + element(0x0040, 0x0260, "") +
           sequence(0x0040, 0x0270, step) + element(0x0040, 0x0340, "");
}

static Bytes completion() {
    Bytes series = element(0x0008, 0x0054, "") + element(0x0008, 0x103e, "") + element(0x0008, 0x1050, "") +
                   element(0x0008, 0x1070, "") + element(0x0008, 0x1140, "") + element(0x0018, 0x1030, "CHEST") +
                   uid(0x0020, 0x000e, "1.2.3.4.5") + element(0x0040, 0x0220, "");
    return element(0x0040, 0x0250, options.date) + element(0x0040, 0x0251, "102500") +
           element(0x0040, 0x0252, "COMPLETED") + sequence(0x0040, 0x0340, series);
}

// ---- a connection ----

class Connection {
  public:
    ~Connection() { end(); }

    bool associate(const Bytes& asked) {
        socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
        int one = 1;
        timeval patience{60, 0};
        setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_port = htons(options.port);
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        rest_.clear();
        at_ = 0;
        if (connect(socket_, reinterpret_cast<sockaddr*>(&where), sizeof where) || !send(asked) || !pdu() || type_ != 2)
            return false;
        for (size_t at = 68; at + 4 <= length_;) {  // PS3.8 9.3.3: items behind the fixed part
            if (body_[at] == 0x21) return body_[at + 6] == 0;
            at += 4 + (body_[at + 2] << 8 | body_[at + 3]);
        }
        return false;
    }

    bool release() {
        static const Bytes asked("\x05\0\0\0\0\x04\0\0\0\0", 10);
        bool done = send(asked) && pdu() && type_ == 6;
        end();
        return done;
    }

    bool send(const Bytes& data) {
        for (size_t at = 0; at < data.size();) {
            ssize_t sent = ::send(socket_, data.data() + at, data.size() - at, MSG_NOSIGNAL);
            if (sent <= 0) return false;
            at += sent;
        }
        return true;
    }

    // Reads answers up to the last; gives its status, or -1, and how many matches came before.
    int answers(int& matches) {
        Bytes command;
        bool more = false;
        int status = -1;
        for (matches = 0;;) {
            if (!pdu() || type_ != 4) return -1;
            for (size_t at = 0; at + 6 <= length_;) {
                size_t length = big(body_ + at) - 2;
                int control = body_[at + 5];
                const unsigned char* data = body_ + at + 6;
                at += 6 + length;
                if (control & 1) {
                    command.append(reinterpret_cast<const char*>(data), length);
                    if (!(control & 2)) continue;
                    more = read(command, status);
                    command.clear();
                }
                if (!(control & 2)) continue;
                bool pending = status == 0xff00 || status == 0xff01;
                if (!(control & 1)) matches += pending;
                if (!pending && (!(control & 1) || !more)) return status;
            }
        }
    }

    void end() {
        if (socket_ >= 0) ::close(socket_);
        socket_ = -1;
    }

  private:
    static bool read(const Bytes& command, int& status) {
        bool has_dataset = false;
        auto at = reinterpret_cast<const unsigned char*>(command.data());
        for (auto last = at + command.size(); at + 8 <= last; at += 8 + little(at + 4)) {
            if (little(at + 2) == 0x0900) status = little(at + 8);
            if (little(at + 2) == 0x0800) has_dataset = little(at + 8) != 0x0101;
        }
        return has_dataset;
    }

    bool need(size_t count) {
        static thread_local char part[1 << 16];
        while (rest_.size() - at_ < count) {
            if (at_ == rest_.size() || at_ > 1 << 20) {
                rest_.erase(0, at_);
                at_ = 0;
            }
            ssize_t got = recv(socket_, part, sizeof part, 0);
            if (got <= 0) return false;
            rest_.append(part, got);
        }
        return true;
    }

    bool pdu() {
        if (!need(6)) return false;
        auto header = reinterpret_cast<const unsigned char*>(rest_.data()) + at_;
        type_ = header[0];
        length_ = big(header + 2);
        if (!need(6 + length_)) return false;
        body_ = reinterpret_cast<const unsigned char*>(rest_.data()) + at_ + 6;
        at_ += 6 + length_;
        return true;
    }

    int socket_ = -1, type_ = 0;
    Bytes rest_;
    size_t at_ = 0, length_ = 0;
    const unsigned char* body_ = nullptr;
};

// ---- a client ----

static void work(double until, int operations, std::vector<double>* took) {
    const bool keeps = options.mode == "many" || options.mode == "echo", reports = options.mode == "mpps";
    const Bytes sop_class = reports ? MPPS : options.mode == "echo" ? ECHO : WORKLIST;
    const Bytes asked = associate_request(sop_class), identifier = query(), ended = completion();
    const Bytes find = request(0x20, WORKLIST, "", &identifier, 1), echo = request(0x30, ECHO, "", nullptr, 1);
    static const std::string run = std::to_string(time(nullptr)) + "." + std::to_string(getpid());
    Connection connection;
    if (keeps && !connection.associate(asked)) {
        failures++;
        return;
    }
    for (int done = 0; operations ? done < operations : now() < until; done++) {
        double begun = now();
        int matches = 0;
        bool good = keeps || connection.associate(asked);
        if (good && reports) {
            long order = options.first + next_order++;
            const Bytes step = "1.2.826.0.1.3680043.10.77." + run + "." + std::to_string(order), made = creation(order);
            good = connection.send(request(0x140, MPPS, step, &made, 1)) && connection.answers(matches) == 0 &&
                   connection.send(request(0x120, MPPS, step, &ended, 2)) && connection.answers(matches) == 0;
        } else if (good && options.mode == "echo") {
            good = connection.send(echo) && connection.answers(matches) == 0;
        } else if (good) {
            good = connection.send(find) && connection.answers(matches) == 0;
            if (good && matches != options.expect) wrong_counts++;
        }
        if (good && !keeps) good = connection.release();
        if (!good) {
            failures++;
            connection.end();
            if (keeps) return;
        } else if (took) {
            took->push_back(now() - begun);
        }
    }
    if (keeps) connection.release();
}

static double percentile(const std::vector<double>& sorted, double part) {
    return sorted.empty() ? 0 : 1000 * sorted[std::min(sorted.size() - 1, size_t(part * sorted.size()))];
}

int main(int count, char** arguments) {
    for (int at = 1; at + 1 < count; at += 2) {
        std::string name = arguments[at], value = arguments[at + 1];
        if (name == "--mode") options.mode = value;
        else if (name == "--port") options.port = atoi(value.c_str());
        else if (name == "--clients") options.clients = atoi(value.c_str());
        else if (name == "--operations") options.operations = atoi(value.c_str());
        else if (name == "--seconds") options.seconds = atof(value.c_str());
        else if (name == "--station") options.station = value;
        else if (name == "--date") options.date = value;
        else if (name == "--expect") options.expect = atoi(value.c_str());
        else if (name == "--called") options.called = value;
        else if (name == "--calling") options.calling = value;
        else if (name == "--first") options.first = atoi(value.c_str());
        else if (name == "--uid-root") options.uid_root = value;
        else if (name == "--warm") options.warm = atoi(value.c_str());
        else if (name == "--max-pdu") options.max_pdu = atoi(value.c_str());
        else return fprintf(stderr, "unknown: %s\n", name.c_str()), 2;
    }
    if (options.warm) work(0, options.warm, nullptr);
    failures = wrong_counts = 0;
    std::vector<std::vector<double>> took(options.clients);
    std::vector<std::thread> clients;
    double begun = now();
    for (auto& each : took) clients.emplace_back(work, begun + options.seconds, options.operations, &each);
    for (auto& each : clients) each.join();
    double lasted = now() - begun;
    std::vector<double> all;
    for (auto& each : took) all.insert(all.end(), each.begin(), each.end());
    std::sort(all.begin(), all.end());
    printf("{\"mode\": \"%s\", \"clients\": %d, \"operations\": %zu, \"rate\": %.1f, \"p50\": %.3f, \"p95\": %.3f,"
           " \"p99\": %.3f, \"slowest\": %.3f, \"failures\": %ld, \"wrong\": %ld, \"orders\": %ld}\n",
           options.mode.c_str(), options.clients, all.size(), all.size() / lasted, percentile(all, .5),
           percentile(all, .95), percentile(all, .99), percentile(all, 1), failures.load(), wrong_counts.load(),
           next_order.load());
    return failures || wrong_counts ? 1 : 0;
}
