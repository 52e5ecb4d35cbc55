"""Cues: words and signs in a task's text that say what kind of work it asks for, in eight languages.

A cue is a word (`prove`), a phrase (`root cause`) or, in scripts written without spaces, a piece of text (`证明`).
The table only names what makes work harder: a cue that lowered a score could be added to any task to cheapen it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

__all__ = ["CUES", "PHRASES", "PIECES", "WORDS", "CueKind", "fold_text"]

CueKind = Literal[
    "code", "math", "reasoning", "design", "actions", "steps", "constraints", "languages", "domain"
]

CUES: Mapping[CueKind, str] = MappingProxyType(
    {
        "code": """
            api, endpoint, function, method, class, module, code, script, compile, compiler, bug, debug, debugger,
            stacktrace, stack trace, traceback, exception, unit test, unit tests, pytest, regex, sql, query, database,
            schema, index, transaction, thread, threads, async, await, concurrency, mutex, deadlock, race condition,
            memory leak, cache, docker, kubernetes, terraform, ci, pipeline, git, branch, merge, commit, repository,
            backend, frontend, parser, algorithm, recursion, linked list, binary tree, hash table, websocket, grpc,
            graphql, oauth, jwt, null pointer, segfault, json, yaml, xml, csv, html, css, queue, lock, pointer,
            funktion, klasse, methode, quelltext, programm, datenbank, schnittstelle, fehlermeldung, abfrage, skript,
            función, clase, código, base de datos, consulta, programa, hilo, hilos, excepción, rama,
            fonction, classe, base de données, requête, programme, exception, dépôt, code source,
            função, banco de dados, programma, funzione, база данных, функцию, функция, запрос, код, скрипт, класс,
            函数, 代码, 数据库, 接口, 线程, 脚本, 查询, 缓存, 编译, 関数, コード, データベース, スクリプト, クエリ, スレッド,
            クラス, 例外
        """,
        "math": """
            equation, equations, integral, derivative, matrix, matrices, eigenvalue, eigenvalues, polynomial, theorem,
            lemma, proof, probability, expected value, variance, standard deviation, distribution, bayes, bayesian,
            combinatorics, permutations, modulo, prime, primes, integer, integers, converge, converges, convergence,
            limit, calculus, geometry, triangle, vector, vectors, regression, confidence interval, p value,
            hypothesis test, logarithm, complexity, asymptotic, np hard, np complete, recurrence, graph theory, graph,
            linear programming, gradient, differential, series, sequence, irrational, continuous, formula,
            gleichung, gleichungen, wahrscheinlichkeit, erwartungswert, ableitung, matrix, primzahl, primzahlen, beweis,
            ganze zahlen, satz von, ecuación, ecuaciones, probabilidad, derivada, integral, matriz, primo, primos,
            demostración, teorema, équation, équations, probabilité, dérivée, intégrale, matrice, théorème,
            nombre premier, nombres premiers, espérance, equação, probabilidade, teorema, вероятность, уравнение,
            матрица, теорема, производная, простых чисел, 方程, 概率, 矩阵, 积分, 导数, 定理, 素数, 期望, 方程式, 確率,
            行列, 積分, 微分, 定理, 期待値
        """,
        "reasoning": """
            prove, proof, disprove, derive, deduce, deduction, infer, inference, conclude, contradiction,
            counterexample, counterexamples, if and only if, necessary and sufficient, optimal, optimally, optimum,
            optimise, optimize, minimise, minimize, maximise, maximize, minimum number, fewest, shortest, trade off,
            trade offs, tradeoff, tradeoffs, root cause, why does, why do, why is, why are, why would, explain why,
            diagnose, hypothesis, hypotheses, evidence, assumption, assumptions, paradox, puzzle, riddle, strategy,
            game theory, equilibrium, worst case, lower bound, upper bound, invariant, invariants, correctness,
            justify, argue, refute, reason about, step by step, under what conditions, could it be, is it possible,
            always true, guarantee, guarantees, feasible, consistent, falsify, rule out, confounder, confounding,
            causal, causes, who is lying, knights and knaves, show that, find all, does there exist, is there a, lying,
            liar, rational, optimal, minimises, minimizes, maximises, maximizes, minimal, whether it, which decision,
            what happened, should we, should i, is it better, forced, in how many ways, how many ways, exactly one, differential,
            discriminate, argue for, argument, weighings, suspects, clues, mate in, utility, risk averse, chance, odds,
            smallest number, cheapest, why did, how come, fallacy, bias, no better, impossible, what went wrong, most likely explanation, plausible,
            beweise, beweisen, widerlege, widerspruch, gegenbeispiel, leite her, herleiten, begründe, begründung,
            optimale, optimal, minimiere, maximiere, ursache, schlussfolgere, folgt daraus, warum, annahmen, abwägen,
            unter welchen, möglich ist, zeige dass, zeige oder widerlege, günstigste, kürzeste, wahrscheinlichste, schließe, genau dann, hypothesen, stelle fest ob,
            demuestra, demostrar, refuta, contradicción, contraejemplo, deduce, deducir, óptimo, óptima, minimiza,
            maximiza, causa raíz, por qué, justifica, hipótesis, supuestos, es posible, razona, razone, probable, descarta, mínimo de, lógica, justifique,
            démontre, démontrer, démontrez, prouve, prouver, prouvez, réfute, contradiction, contre exemple, déduis,
            déduisez, optimale, minimise, maximise, cause profonde, pourquoi, justifie, justifiez, hypothèse, hypothèses, plausible, probable, écarter, existe t il, raisonne,
            prove que, demonstre, contradição, ótimo, causa raiz, por que, justifique, hipóteses,
            dimostra, controesempio, докажи, докажите, опровергни, противоречие, контрпример, выведи,
            оптимальный, оптимальную, почему, обоснуй, гипотезы,
            证明, 反证, 反例, 推导, 推断, 推理, 最优, 最少, 最短, 为什么, 根本原因, 权衡, 假设, 矛盾, 充分必要, 是否可能,
            証明, 背理法, 反例, 導出, 推論, 最適, 最小, 最短, なぜ, 根本原因, トレードオフ, 仮説, 矛盾, 必要十分
        """,
        "design": """
            design, architect, architecture, architectural, refactor, refactoring, migrate, migration, rearchitect,
            plan, roadmap, strategy, compare, comparison, evaluate, evaluation, assess, assessment, audit, review,
            research, investigate, integrate, integration, scale, scalable, end to end, system, platform, framework,
            rollout, rollback, backward compatible, multi tenant, distributed, microservice, microservices, prototype,
            specification, threat model, monitoring, observability, failover, stakeholder, stakeholders, proposal,
            business plan, campaign, curriculum, report, dashboard, playbook, runbook, benchmark, recommend,
            entwirf, entwirfst, entwurf, architektur, migriere, migration, vergleiche, bewerte, konzept, plane,
            strategie, recherchiere, plattform, verteilte, verteiltes, prüfe, bericht, integriere, empfehlung,
            diseña, diseñar, arquitectura, migra, migración, compara, evalúa, plan de, estrategia, investiga,
            plataforma, informe, integra, recomienda,
            conçois, concevez, concevoir, architecture, migre, migrez, compare, comparez, évalue, évaluez, stratégie,
            recherche, plateforme, rapport, intègre, recommande, élabore, élaborez,
            projete, arquitetura, compare, avalie, estratégia, relatório, migração, progetta, confronta, valuta,
            спроектируй, архитектуру, сравни, оцени, стратегию, план, отчёт, миграцию,
            设计, 架构, 重构, 迁移, 比较, 评估, 方案, 调研, 规划, 系统, 平台, 报告, 分布式, 設計, アーキテクチャ, 移行,
            比較, 評価, 計画, 調査, システム, 提案, レポート
        """,
        "actions": """
            write, create, build, implement, add, update, fix, test, tests, document, documentation, deploy, analyse,
            analyze, summarise, summarize, extract, classify, generate, convert, validate, verify, measure, configure,
            translate, rewrite, draft, outline, list, calculate, compute, describe, explain, propose, estimate,
            prioritise, prioritize, identify, prepare, research, compare, review, schedule, publish, simulate,
            schreibe, schreib, erstelle, baue, implementiere, teste, dokumentiere, analysiere, fasse, extrahiere,
            berechne, beschreibe, erkläre, erläutere, schätze, übersetze, formuliere, prüfe, nenne, liste, schlage,
            escribe, crea, construye, implementa, prueba, documenta, analiza, resume, extrae, calcula, describe,
            explica, estima, traduce, propón, redacta, enumera, verifica,
            écris, écrivez, crée, créez, construis, implémente, implémentez, teste, documente, analyse, analysez,
            résume, résumez, extrais, calcule, calculez, décris, explique, expliquez, estime, traduis, propose,
            proposez, rédige, rédigez, vérifie, vérifiez,
            escreva, crie, implemente, analise, resuma, extraia, calcule, descreva, explique, traduza, scrivi, crea,
            analizza, riassumi, spiega, напиши, создай, реализуй, проанализируй, опиши, объясни, переведи, составь,
            编写, 写一, 实现, 创建, 分析, 总结, 提取, 计算, 描述, 解释, 翻译, 测试, 列出, 生成, 書いて, 作成, 実装, 分析,
            要約, 抽出, 計算, 説明, 翻訳, テスト, 列挙
        """,
        "steps": """
            then, also, next, finally, afterwards, after that, additionally, furthermore, moreover, first, second,
            third, lastly, followed by, as well as, in addition, plus, both, each, every, for each, and finally, before,
            once, phase, step, steps, per, while, based on,
            dann, danach, anschließend, außerdem, zuerst, zunächst, schließlich, zudem, ferner, sowie, jede, jeder, jedes,
            pro, bevor, schritt, schritte, darüber hinaus,
            luego, después, además, primero, finalmente, también, por último, cada, antes, paso, pasos, a continuación,
            puis, ensuite, aussi, également, de plus, enfin, premièrement, chaque, avant, étape, étapes, ainsi que,
            depois, então, também, além disso, primeiro, por fim, poi, inoltre, infine, затем, потом, также, сначала,
            каждый, каждого, кроме того, 然后, 接着, 同时, 另外, 首先, 其次, 最后, 并且, 每个, 以及, そして, 次に, また,
            さらに, まず, 最後に, その後, 各, ごと
        """,
        "constraints": """
            must, must not, without, at most, at least, no more than, no less than, exactly, only, ensure, should,
            should not, never, always, within, limit, limited to, maximum, minimum, under, between, except, unless, avoid,
            require, requires, required, requirement, requirements, deadline, budget, constraint, constraints, compliant,
            comply, gdpr, hipaa, accessible, idempotent, thread safe, backwards, support, supports, handle, handling,
            words, sentences, format, tone, given, assuming, respect, zero downtime, retry, edge cases,
            muss, müssen, darf, dürfen, ohne, höchstens, mindestens, genau, nur, stelle sicher, maximal, innerhalb,
            keine, kein, budget, frist, dsgvo, vorgaben, anforderungen, außer, wörter, sätze, berücksichtige,
            debe, deben, sin, como máximo, al menos, exactamente, solo, asegúrate, máximo, mínimo, dentro de, evita,
            plazo, presupuesto, requisitos, excepto, palabras, nunca, siempre,
            doit, doivent, sans, au plus, au moins, au maximum, exactement, seulement, assure, maximum, minimum, évite,
            évitez, délai, budget, contraintes, exigences, sauf, mots, rgpd, jamais, toujours, moins de,
            deve, devem, sem, no máximo, pelo menos, exatamente, apenas, prazo, orçamento, requisitos, senza, almeno,
            должен, должна, должны, без, не более, не менее, ровно, только, срок, бюджет, слов,
            必须, 不得, 不能, 至少, 最多, 不超过, 仅, 只能, 确保, 避免, 预算, 限制, 以内, 要求, 必ず, 以内, 以上, 以下,
            のみ, なしで, 避け, 予算, 制約, 文字
        """,
        "languages": """
            python, javascript, typescript, rust, golang, java, kotlin, swift, cpp, csharp, ruby, php, scala, haskell,
            elixir, bash, sql, cobol, fortran, perl, matlab, julia, english, german, french, spanish, portuguese,
            italian, dutch, polish, russian, chinese, japanese, korean, arabic, hindi, turkish, englisch, englische,
            deutsch, deutsche, französisch, französische, spanisch, spanische, japanisch, inglés, alemán, francés,
            español, japonés, anglais, allemand, français, espagnol, japonais, inglês, francês, espanhol, английский,
            немецкий, французский, 英语, 英文, 德语, 法语, 日语, 中文, 英語, ドイツ語, フランス語, 日本語, 中国語
        """,
        "domain": """
            security, vulnerability, encryption, cryptographic, cryptography, authentication, authorization, compliance,
            legal, contract, clause, liability, regulation, clinical, diagnosis, patient, dosage, medical, tax, taxes,
            audit, portfolio, hedge, valuation, derivative, forecast, statistical, causal, quantum, thermodynamics,
            protein, genome, latency, throughput, consensus, replication, sharding, consistency, availability, incident,
            outage, machine learning, neural, embedding, fine tune, dataset, churn, cohort, revenue, stakeholder,
            sicherheit, vertrag, haftung, klausel, steuer, steuern, patient, diagnose, prognose, ausfall, verfügbarkeit,
            seguridad, contrato, cláusula, impuestos, paciente, diagnóstico, pronóstico, disponibilidad,
            sécurité, contrat, clause, impôt, impôts, patient, diagnostic, prévision, disponibilité,
            segurança, contrato, imposto, безопасность, договор, налог, 安全, 合同, 条款, 税, 患者, 诊断, 一致性, 可用性,
            延迟, セキュリティ, 契約, 条項, 税, 患者, 診断, 可用性
        """,
    }
)
"""The cues as people maintain them: separated by commas, in any order, a word may serve two kinds."""


@dataclass(frozen=True, slots=True)
class _Cue:
    text: str
    kinds: tuple[CueKind, ...]


def fold_text(text: str) -> str:
    """How text and cues are compared: composed and without case."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _bare(text: str) -> str:
    """The text without accents, as many people type it."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))


def _spaced(text: str) -> bool:
    return not any("\u3040" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" for c in text)


def _table() -> dict[str, tuple[CueKind, ...]]:
    found: dict[str, tuple[CueKind, ...]] = {}
    for kind in get_args(CueKind):
        for cue in dict.fromkeys(fold_text(part.strip()) for part in CUES[kind].split(",")):
            for form in {cue, _bare(cue)} if _spaced(cue) else {cue}:
                found[form] = (*(k for k in found.get(form, ()) if k != kind), kind)
    return found


def _phrases(table: Mapping[str, tuple[CueKind, ...]]) -> dict[str, tuple[_Cue, ...]]:
    found: dict[str, tuple[_Cue, ...]] = {}
    for cue, kinds in table.items():
        if " " in cue:
            head = cue.split(" ", 1)[0]
            found[head] = (*found.get(head, ()), _Cue(f" {cue} ", kinds))
    return found


_TABLE = _table()

WORDS: Mapping[str, tuple[CueKind, ...]] = MappingProxyType(
    {cue: kinds for cue, kinds in _TABLE.items() if " " not in cue and _spaced(cue)}
)
"""Single words."""
PHRASES: Mapping[str, tuple[_Cue, ...]] = MappingProxyType(_phrases(_TABLE))
"""Phrases by their first word, each between two spaces."""
PIECES: tuple[_Cue, ...] = tuple(
    _Cue(cue, kinds) for cue, kinds in _TABLE.items() if not _spaced(cue)
)
"""Cues of scripts without spaces, looked for anywhere."""
