/* Chooses a network for a device, and says why: chapter 16's answer, from data in the page.
 *
 * It computes what qbench/studies/choice.py and choice_page.py do, under the same names and to the
 * same letter: tests/test_choice_page.py compares the two. choice-form.js asks it.
 */
(() => {
  "use strict";

  const LIMITS = {
    accuracy: ["accuracy", "more"],
    frames_per_second: ["rate", "more"],
    share: ["share", "less"],
    energy: ["energy", "less"],
  };
  const FREE = { accuracy: 0, frames_per_second: 0, share: 1, energy: Infinity };
  const OBJECTIVES = { accuracy: "more", rate: "more", resource: "less", energy: "less" };
  const PREFERRED = {
    accuracy: "accuracy",
    frames_per_second: "rate",
    resources: "resource",
    energy: "energy",
  };
  const THEN = ["accuracy", "resource", "energy", "rate"];
  const BEST = {
    accuracy: "most accurate",
    rate: "fastest",
    resource: "smallest",
    energy: "least energy",
  };
  const NAMES = { accuracy: "accuracy", rate: "frames/s", resource: "resources", energy: "energy" };
  const RESOURCES = { lut: "LUT", bram18: "BRAM18", dsp: "DSP" };
  const CPU = "CPU";
  const STEP = {
    accuracy: (value) => Math.max(0, value - 1),
    frames_per_second: (value) => value / 10,
    share: (value) => Math.min(1, value + 0.1),
    energy: (value) => value * 2,
  };

  /* Numbers in words */

  const formats = new Map();
  function written(value, least, most) {
    const key = `${least} ${most}`;
    const options = { minimumFractionDigits: least, maximumFractionDigits: most };
    if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-GB", options));
    return formats.get(key).format(value);
  }
  const fixed = (value, places) => {
    const scale = 10 ** places;
    return written(Math.floor(value * scale + 0.5) / scale, places, places);
  };
  const times = (ratio) => (ratio < 0.005 ? "less than 0.01" : fixed(ratio, ratio >= 10 ? 0 : 2));
  const plain = (value) => written(value, 0, 9);
  const digits = (value) => {
    const place = [100, 10, 1, 0.1, 0.01].findIndex((least) => value >= least);
    return fixed(value, place < 0 ? 5 : place);
  };
  const listed = (parts) =>
    parts.length === 1 ? parts[0] : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
  const limit = (name, value, device) =>
    ({
      accuracy: () => `an accuracy of at least ${plain(value)} %`,
      frames_per_second: () => `at least ${plain(value)} frames/s`,
      share: () => `at most ${plain(100 * value)} % of the ${device}`,
      energy: () => `at most ${plain(value)} µJ an image`,
    })[name]();
  const limits = (wanted, device) =>
    asked(wanted).map((name) => limit(name, wanted[name], device));
  const amount = (name, value, device) => {
    if (Number.isNaN(value)) return "–";
    if (name === "accuracy") return fixed(value, 2);
    if (name === "rate") return fixed(value, 0);
    if (name === "energy") return digits(value);
    return device === CPU ? `${digits(value)} kB` : `${fixed(100 * value, 1)} %`;
  };

  /* The choice */

  function candidates(every, dataset, device) {
    const there = every.devices[device];
    const rows = [];
    every.networks.forEach((one, network) => {
      if (one.dataset !== dataset) return;
      const { accuracy, half, energy } = one;
      const shared = { network, accuracy, half: half ?? NaN, energy };
      if (!there) {
        const alone = { rate: one.cpu, share: 0, resource: one.memory };
        if (one.cpu !== null) rows.push({ ...shared, ...alone });
        return;
      }
      for (const [rate, ...use] of every.designs[one.design][device] ?? []) {
        const known = Object.keys(RESOURCES).map((name, place) => [name, use[place]]);
        const parts = known.filter(([, v]) => v !== null).map(([name, v]) => v / there[name]);
        const share = Math.max(...parts);
        rows.push({ ...shared, ...Object.fromEntries(known), rate, share, resource: share });
      }
    });
    return rows;
  }

  const asked = (wanted) => Object.keys(LIMITS).filter((name) => wanted[name] !== FREE[name]);
  const without = (wanted, name) => ({ ...wanted, [name]: FREE[name] });
  const meets = (row, wanted, name) => {
    const [column, better] = LIMITS[name];
    return better === "more" ? row[column] >= wanted[name] : row[column] <= wanted[name];
  };
  const fits = (rows, wanted) =>
    rows.filter((row) => Object.keys(LIMITS).every((name) => meets(row, wanted, name)));
  const count = (rows) => new Set(rows.map(({ network }) => network)).size;

  function fitting(rows, wanted) {
    const first = PREFERRED[wanted.prefer];
    const order = [first, ...THEN.filter((name) => name !== first)];
    const compare = (a, b) => {
      for (const name of order) {
        if (a[name] !== b[name]) {
          return OBJECTIVES[name] === "less" ? a[name] - b[name] : b[name] - a[name];
        }
      }
      return a.network - b.network;
    };
    const seen = new Set();
    return fits(rows, wanted)
      .sort(compare)
      .filter(({ network }) => !seen.has(network) && seen.add(network));
  }

  function compared(rows, wanted) {
    if (!rows.some(({ share }) => share > 0)) return Object.keys(OBJECTIVES);
    const passed = PREFERRED[wanted.prefer] === "rate" ? "resource" : "rate";
    return Object.keys(OBJECTIVES).filter((name) => name !== passed);
  }

  const better = (name, one, other) => {
    if (Number.isNaN(one) || Number.isNaN(other)) return !Number.isNaN(one);
    return OBJECTIVES[name] === "more" ? one > other : one < other;
  };

  function choose(rows, wanted) {
    const names = compared(rows, wanted);
    const kept = fitting(rows, wanted);
    const beats = (a, b) =>
      names.every((name) => !better(name, b[name], a[name])) &&
      names.some((name) => better(name, a[name], b[name]));
    return kept.filter((row) => !kept.some((rival) => beats(rival, row)));
  }

  function nearest(rows, wanted) {
    const short = {
      accuracy: (row) => wanted.accuracy - row.accuracy,
      frames_per_second: (row) => Math.log10(wanted.frames_per_second / row.rate),
      share: (row) => (row.share - wanted.share) / 0.1,
      energy: (row) => Math.log2(row.energy / wanted.energy),
    };
    const missed = (row) =>
      Object.keys(LIMITS).reduce(
        (sum, name) => sum + (meets(row, wanted, name) ? 0 : short[name](row)),
        0,
      );
    const steps = rows.map((row) => [missed(row), row]);
    return steps.sort(([a, one], [b, other]) => a - b || one.network - other.network)[0][1];
  }

  function tightest(rows, wanted) {
    const names = asked(wanted);
    const freed = names.map((name) => fitting(rows, without(wanted, name)).length);
    const most = Math.max(...freed);
    if (most) return [names[freed.indexOf(most)], most];
    const alone = names.map((name) => count(rows.filter((row) => meets(row, wanted, name))));
    return [names[alone.indexOf(Math.min(...alone))], 0];
  }

  function reach(rows, wanted) {
    const kept = fits(rows, wanted);
    const ends = Object.entries(OBJECTIVES).map(([name, way]) => {
      const values = kept.map((row) => row[name]);
      if (!values.length) return [name, NaN];
      return [name, way === "more" ? Math.max(...values) : Math.min(...values)];
    });
    return { ...Object.fromEntries(ends), networks: count(kept) };
  }

  function easing(rows, wanted) {
    const now = reach(rows, wanted);
    return asked(wanted).map((name) => {
      const eased = STEP[name](wanted[name]);
      const free = reach(rows, without(wanted, name));
      return {
        limit: name,
        eased,
        reach: reach(rows, { ...wanted, [name]: eased }),
        binds: Object.keys(OBJECTIVES).filter((one) => better(one, free[one], now[one])),
      };
    });
  }

  function asGood(rows) {
    const same = rows.filter(
      (row) => Math.abs(row.accuracy - rows[0].accuracy) <= row.half + rows[0].half,
    );
    if (!same.length) return null;
    const found = same.reduce((a, b) => (b.resource < a.resource ? b : a));
    return found.resource >= rows[0].resource ? null : found;
  }

  /* The answer in words */

  function told(row, after) {
    if (Number.isNaN(row.half) || Number.isNaN(after.half)) return "one seed: cannot tell";
    const apart = Math.abs(after.accuracy - row.accuracy) > row.half + after.half;
    return apart ? "more than seeds make" : "no more than seeds make";
  }

  function difference(name, row, after, kind) {
    if (name === "accuracy") {
      const points = after.accuracy - row.accuracy;
      const word = points > 0 ? "more" : "less";
      return `${fixed(Math.abs(points), 2)} points ${word} accuracy (${told(row, after)})`;
    }
    const words = { rate: "frames/s", resource: kind, energy: "energy" };
    return `${times(after[name] / row[name])} × the ${words[name]}`;
  }

  function against(row, after, names, kind) {
    const gains = [];
    const losses = [];
    for (const name of names) {
      if (row[name] === after[name]) continue;
      const to = better(name, after[name], row[name]) ? gains : losses;
      to.push(difference(name, row, after, kind));
    }
    if (!gains.length && !losses.length) return "is its equal";
    const parts = [gains.join(" and "), losses.join(" and ")];
    return `has ${parts.filter(Boolean).join(", but ")}`;
  }

  function reasons(rows, names, kind) {
    const top = (name) => {
      const values = rows.map((row) => row[name]);
      return OBJECTIVES[name] === "more" ? Math.max(...values) : Math.min(...values);
    };
    const tops = Object.fromEntries(names.map((name) => [name, top(name)]));
    return rows.map((row, place) => {
      const best = names.filter((name) => row[name] === tops[name]).map((name) => BEST[name]);
      const soFar = names.filter(
        (name) =>
          place &&
          row[name] !== tops[name] &&
          rows.slice(0, place).every((above) => better(name, row[name], above[name])),
      );
      const lead =
        [...best, ...soFar.map((name) => `${BEST[name]} so far`)].join(", ") || "a compromise";
      const after = rows[place + 1];
      const next = after ? `; the next ${against(row, after, names, kind)}` : "";
      return `${lead[0].toUpperCase()}${lead.slice(1)}${next}.`;
    });
  }

  function nearestWhy(near, wanted, device) {
    const has = {
      accuracy: () => `an accuracy of ${fixed(near.accuracy, 2)} %`,
      frames_per_second: () => `${fixed(near.rate, 0)} frames/s`,
      share: () => `${fixed(100 * near.share, 1)} % of the ${device}`,
      energy: () => `${digits(near.energy)} µJ`,
    };
    const said = asked(wanted)
      .filter((name) => !meets(near, wanted, name))
      .map((name) => `${has[name]()} (asked: ${limit(name, wanted[name], device)})`);
    return `Nearest: ${said.join("; ")}.`;
  }

  function shares(row, there) {
    const names = Object.keys(RESOURCES);
    const known = names.filter((name) => row[name] !== null);
    const part = (name) => `${RESOURCES[name]} ${fixed((100 * row[name]) / there[name], 1)} %`;
    const others = names.filter((name) => row[name] === null).map((name) => RESOURCES[name]);
    const doubt = others.length ? `; ${listed(others)} not known: may not fit` : "";
    return known.map(part).join(", ") + doubt;
  }

  function cells(every, device, row, why) {
    const one = every.networks[row.network];
    const there = every.devices[device];
    const half = one.half === null ? "" : ` ± ${fixed(one.half, 2)}`;
    const use = there ? shares(row, there) : `${digits(row.resource)} kB`;
    return [
      [one.name, `${one.method}, chapter ${one.chapter}`, why, one.trained],
      fixed(row.accuracy, 2) + half,
      one.bits,
      fixed(row.rate, 0),
      use,
      digits(row.energy),
    ];
  }

  function binding(eased, wanted, device) {
    const column = PREFERRED[wanted.prefer];
    const hold = eased.filter(({ binds }) => binds.includes(column)).map((row) => row.limit);
    if (!hold.length) return `No limit alone holds ${NAMES[column]} back.`;
    const named = hold.map((name) => limit(name, wanted[name], device));
    return `What holds ${NAMES[column]} back: ${listed(named)}.`;
  }

  function easingCells(rows, wanted, eased, device) {
    const now = reach(rows, wanted);
    const line = (to) => [
      String(to.networks),
      ...Object.keys(OBJECTIVES).map((name) =>
        to !== now && !better(name, to[name], now[name]) ? "same" : amount(name, to[name], device),
      ),
    ];
    const others = eased.map((row) => [
      limit(row.limit, row.eased, device),
      ...line(row.reach),
      row.binds.length ? listed(row.binds.map((name) => NAMES[name])) : "nothing",
    ]);
    return [["as asked", ...line(now), ""], ...others];
  }

  function answer(every, dataset, device, asks) {
    const wanted = device === CPU ? without(asks, "share") : asks;
    const there = candidates(every, dataset, device);
    if (!there.length) {
      const known = every.networks.some((one) => one.dataset === dataset);
      const why = every.left[`${dataset} ${device}`];
      const said = known
        ? `No stored network of ${dataset} can be had on the ${device} (${why}).`
        : `No network of ${dataset} is stored.`;
      return { said: [said], rows: [], easing: [] };
    }
    const kind = device === CPU ? "memory" : "share of the device";
    const rows = choose(there, wanted);
    const total = count(there);
    const names = limits(wanted, device);
    if (!rows.length) {
      const near = nearest(there, wanted);
      const [name, freed] = tightest(there, wanted);
      const free = freed ? `without it ${freed} would fit` : "no limit is to blame alone";
      const said = [
        `Nothing fits: none of ${total} networks of ${dataset} on the ${device} has ` +
          `${listed(names)}.`,
        `The tightest is ${limit(name, wanted[name], device)}; ${free}. The nearest:`,
      ];
      const row = cells(every, device, near, nearestWhy(near, wanted, device));
      return { said, rows: [row], easing: [] };
    }
    const eased = easing(there, wanted);
    const kept = names.length ? ` keep to ${listed(names)}` : " are there";
    const cut = rows.length > every.most ? `, of which the first ${every.most} are shown` : "";
    const all = fitting(there, wanted).length;
    const alone = all === 1 ? "It is the only one" : "One of these beats all others";
    const beaten = rows.length === 1 ? alone : `Of these nothing beats ${rows.length}`;
    const said = [
      `${all} of ${total} networks of ${dataset} on the ${device}${kept}. ${beaten}${cut}.`,
      binding(eased, wanted, device),
    ];
    const same = wanted.prefer === "accuracy" ? asGood(rows) : null;
    if (same) {
      const ratio = times(same.resource / rows[0].resource);
      said.push(
        `Seeds do not tell the first from ${every.networks[same.network].name}, which takes ` +
          `${ratio} × the ${kind}.`,
      );
    }
    said.push(
      device === CPU
        ? "Frames/s were measured, one image at a time; energy is a model's."
        : "Frames/s, resources and energy are models' numbers.",
    );
    const why = reasons(rows, compared(there, wanted), kind);
    const shown = rows.slice(0, every.most).map((row, at) => cells(every, device, row, why[at]));
    return { said, rows: shown, easing: easingCells(there, wanted, eased, device) };
  }

  globalThis.qbenchChoice = { answer, FREE, CPU };
})();
